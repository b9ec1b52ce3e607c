package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// dovecot is the login proxy in its high-performance mode: a process per core,
// each with many clients.
var dovecot = Kind{
	Name: "dovecot", About: "login proxy, high-performance mode: sees logins", StartTLS: true,
	find:      findDovecot,
	version:   []string{"--version"},
	configure: configureDovecot,
}

// findDovecot wants version 2.3, whose configuration this is, and root, whose
// rights its processes give up.
func findDovecot() (string, error) {
	program, err := look("dovecot", "dovecot-imapd dovecot-pop3d")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(out), "2.3.") {
		return "", fmt.Errorf("the configuration is for Dovecot 2.3, this is %s", strings.TrimSpace(string(out)))
	}
	if os.Getuid() != 0 {
		return "", errors.New("it must be started by root")
	}
	for _, login := range []string{"imap-login", "pop3-login"} {
		if _, err := os.Stat(filepath.Join("/usr/lib/dovecot", login)); err != nil {
			return "", fmt.Errorf("no %s; on Debian: apt-get install dovecot-imapd dovecot-pop3d", login)
		}
	}
	return program, nil
}

func configureDovecot(s Setup, _ string, d doors) (args, env []string, err error) {
	host, imap, err := net.SplitHostPort(s.Backend.IMAP)
	if err != nil {
		return nil, nil, err
	}
	_, pop3, err := net.SplitHostPort(s.Backend.POP3)
	if err != nil {
		return nil, nil, err
	}
	conf, err := write(s, d, "dovecot.conf", map[string]any{"BackendHost": host, "BackendIMAP": imap, "BackendPOP3": pop3})
	return []string{"-F", "-c", conf}, os.Environ(), err
}
