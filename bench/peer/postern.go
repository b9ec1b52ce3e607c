package peer

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// errNotBuilt means that there is no program of postern to start.
var errNotBuilt = errors.New("no program: run this inside the module, or add -postern PATH")

// postern has limits that never apply, unless [Setup] has settings.
func postern(program string) Kind {
	return Kind{
		Name: "postern", About: "this module: sees logins, limits them", StartTLS: true, SASL: true,
		find: func() (string, error) {
			if program == "" {
				return "", errNotBuilt
			}
			return exec.LookPath(program)
		},
		version:   []string{"version"},
		configure: configurePostern,
	}
}

// unlimited is the settings with which no limit ever applies.
var unlimited = []string{
	"LIMIT_CONNECT=1000000/1s", "LIMIT_OPEN=off", "LIMIT_OPEN_PRELOGIN=off",
	"LIMIT_SOURCE=1000000/1s", "LIMIT_NETWORK=1000000/1s", "LIMIT_PAIR=1000000/1s", "LIMIT_ACCOUNT=1000000/1s", "LIMIT_GLOBAL=1000000/1s",
	"BACKEND_LOGINS=100000", "TARPIT_SOURCE=100000", "TARPIT_NETWORK=100000", "TARPIT_TOTAL=100000",
}

func configurePostern(s Setup, _ string, l listeners) (args, env []string, err error) {
	settings := []string{
		"IMAP_LISTEN=" + l.IMAP, "IMAPS_LISTEN=" + l.IMAPS, "POP3_LISTEN=" + l.POP3, "POP3S_LISTEN=" + l.POP3S,
		"IMAP_BACKENDS=" + s.Backend.ProxiedIMAP, "POP3_BACKENDS=" + s.Backend.ProxiedPOP3,
		"TLS_CERT=" + s.Cert, "TLS_KEY=" + s.Key, "CLEARTEXT_LOGIN=true", "ADMIN_LISTEN=" + l.Admin,
	}
	if !s.LogLogins {
		settings = append(settings, "LOG_LEVEL=warn")
	}
	if s.ProxyHeader {
		settings = append(settings, "PROXY_FROM=127.0.0.0/8")
	}
	if s.AdminToken != "" {
		token := filepath.Join(s.Dir, "admin-token")
		if err := os.WriteFile(token, []byte(s.AdminToken), 0o600); err != nil {
			return nil, nil, err
		}
		settings = append(settings, "ADMIN_TOKEN_FILE="+token)
	}
	dir := "off"
	if s.State != nil {
		dir = filepath.Join(s.Dir, "state")
		if err := writeState(dir, s.State); err != nil {
			return nil, nil, err
		}
	}
	settings = append(settings, "STATE_DIR="+dir)
	limits := s.Settings
	if limits == nil {
		limits = unlimited
	}
	for _, setting := range slices.Concat(settings, limits, s.More) {
		env = append(env, "POSTERN_"+strings.TrimPrefix(setting, "POSTERN_"))
	}
	return []string{"serve"}, env, nil
}

// writeState writes state files into a folder.
func writeState(dir string, files map[string][]byte) error {
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
