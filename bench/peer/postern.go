package peer

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNotBuilt says that there is no program of postern to start.
var ErrNotBuilt = errors.New("no program: run this inside the module, or name it with -postern PATH")

// postern is the gate, with limits that do not bind.
func postern(program string) Kind {
	return Kind{
		Name: "postern", About: "this gate: sees logins, limits them", StartTLS: true,
		find: func() (string, error) {
			if program == "" {
				return "", ErrNotBuilt
			}
			return exec.LookPath(program)
		},
		version:   []string{"version"},
		configure: configurePostern,
	}
}

// raised is what an operator would set so that no limit is met by a bench.
var raised = []string{
	"LIMIT_CONNECT=1000000/1s", "LIMIT_OPEN=off", "LIMIT_OPEN_PRELOGIN=off",
	"LIMIT_SOURCE=1000000/1s", "LIMIT_NETWORK=1000000/1s", "LIMIT_PAIR=1000000/1s", "LIMIT_ACCOUNT=1000000/1s", "LIMIT_GLOBAL=1000000/1s",
	"BACKEND_LOGINS=100000", "TARPIT_SOURCE=100000", "TARPIT_NETWORK=100000", "TARPIT_TOTAL=100000",
}

func configurePostern(s Setup, _ string, d doors) (args, env []string, err error) {
	admin, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	settings := []string{
		"IMAP_LISTEN=" + d.IMAP, "IMAPS_LISTEN=" + d.IMAPS, "POP3_LISTEN=" + d.POP3, "POP3S_LISTEN=" + d.POP3S,
		"IMAP_BACKENDS=" + s.Backend.ProxiedIMAP, "POP3_BACKENDS=" + s.Backend.ProxiedPOP3,
		"TLS_CERT=" + s.Cert, "TLS_KEY=" + s.Key, "CLEARTEXT_LOGIN=true", "ADMIN_LISTEN=" + admin,
	}
	if !s.LogLogins {
		settings = append(settings, "LOG_LEVEL=warn")
	}
	if s.Announce {
		settings = append(settings, "PROXY_FROM=127.0.0.0/8")
	}
	if s.State != nil {
		kept := filepath.Join(s.Dir, "state")
		if err := keep(kept, s.State); err != nil {
			return nil, nil, err
		}
		settings = append(settings, "STATE_DIR="+kept)
	}
	limits := s.Settings
	if limits == nil {
		limits = raised
	}
	for _, setting := range append(settings, limits...) {
		env = append(env, "POSTERN_"+strings.TrimPrefix(setting, "POSTERN_"))
	}
	return []string{"serve"}, env, nil
}

// keep writes files into a folder of their own.
func keep(dir string, files map[string][]byte) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
