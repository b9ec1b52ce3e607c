package peer

import (
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"text/template"
)

//go:embed conf
var confs embed.FS

var confTemplates = template.Must(template.New("").Funcs(template.FuncMap{"port": port}).ParseFS(confs, "conf/*"))

// port returns the port of host:port.
func port(addr string) (string, error) {
	_, p, err := net.SplitHostPort(addr)
	return p, err
}

// writeConfig executes a template, writes the result into the target's folder
// and returns its path.
func writeConfig(s Setup, l listeners, name string, more map[string]any) (string, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	files := min(limit.Max, 1<<20)
	values := map[string]any{
		"Setup": s, "Listeners": l, "Cores": runtime.NumCPU(),
		"Files": files, "Connections": files/2 - 200,
	}
	for k, v := range more {
		values[k] = v
	}
	var text strings.Builder
	if err := confTemplates.ExecuteTemplate(&text, name, values); err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, name)
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

// nginx is its mail module, which asks an HTTP server where to relay a login.
var nginx = Kind{
	Name: "nginx", About: "mail module: sees logins, asks auth_http about each", StartTLS: true,
	find:      findNginx,
	version:   []string{"-v"},
	configure: configureNginx,
}

var nginxModules = regexp.MustCompile(`--modules-path=(\S+)`)

// findNginx returns the path of an nginx that has the mail module.
func findNginx() (string, error) {
	program, err := findProgram("nginx", "nginx libnginx-mod-mail")
	if err != nil {
		return "", err
	}
	if _, err := mailModule(program); err != nil {
		return "", err
	}
	return program, nil
}

// mailModule returns the file of the mail module, or "" if it is built in.
func mailModule(program string) (string, error) {
	out, err := exec.Command(program, "-V").CombinedOutput()
	if err != nil {
		return "", err
	}
	if m := nginxModules.FindSubmatch(out); m != nil {
		file := filepath.Join(string(m[1]), "ngx_mail_module.so")
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	if strings.Contains(string(out), "--with-mail ") {
		return "", nil
	}
	return "", errors.New("nginx has no mail module; on Debian: apt-get install libnginx-mod-mail")
}

func configureNginx(s Setup, program string, l listeners) (args, env []string, err error) {
	module, err := mailModule(program)
	if err != nil {
		return nil, nil, err
	}
	conf, err := writeConfig(s, l, "nginx.conf", map[string]any{"Module": module})
	return []string{"-p", s.Dir, "-e", "stderr", "-c", conf}, os.Environ(), err
}

// haproxy ends TLS and relays octets; it sees no logins.
var haproxy = Kind{
	Name: "haproxy", About: "TCP mode: ends TLS, sees no login", SASL: true,
	find:      func() (string, error) { return findProgram("haproxy", "haproxy") },
	version:   []string{"-v"},
	configure: configureHAProxy,
}

func configureHAProxy(s Setup, _ string, l listeners) (args, env []string, err error) {
	pair := filepath.Join(s.Dir, "pair.pem")
	cert, err := os.ReadFile(s.Cert)
	if err != nil {
		return nil, nil, err
	}
	key, err := os.ReadFile(s.Key)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(pair, append(cert, key...), 0o600); err != nil {
		return nil, nil, err
	}
	conf, err := writeConfig(s, l, "haproxy.cfg", map[string]any{"Pair": pair})
	return []string{"-db", "-f", conf}, os.Environ(), err
}

// dovecot is the login proxy in high-performance mode: one process per core,
// each with many clients.
var dovecot = Kind{
	Name: "dovecot", About: "login proxy, high-performance mode: sees logins", StartTLS: true,
	find:      findDovecot,
	version:   []string{"--version"},
	configure: configureDovecot,
}

// findDovecot returns the path of a Dovecot of version 2.3, for which the
// configuration is written. Dovecot must start as root.
func findDovecot() (string, error) {
	program, err := findProgram("dovecot", "dovecot-imapd dovecot-pop3d")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(out), "2.3.") {
		return "", fmt.Errorf("got Dovecot %s, want 2.3", strings.TrimSpace(string(out)))
	}
	if os.Getuid() != 0 {
		return "", errors.New("only root can start it")
	}
	for _, login := range []string{"imap-login", "pop3-login"} {
		if _, err := os.Stat(filepath.Join("/usr/lib/dovecot", login)); err != nil {
			return "", fmt.Errorf("no %s; on Debian: apt-get install dovecot-imapd dovecot-pop3d", login)
		}
	}
	return program, nil
}

func configureDovecot(s Setup, _ string, l listeners) (args, env []string, err error) {
	host, imap, err := net.SplitHostPort(s.Backend.IMAP)
	if err != nil {
		return nil, nil, err
	}
	_, pop3, err := net.SplitHostPort(s.Backend.POP3)
	if err != nil {
		return nil, nil, err
	}
	conf, err := writeConfig(s, l, "dovecot.conf", map[string]any{"BackendHost": host, "BackendIMAP": imap, "BackendPOP3": pop3})
	return []string{"-F", "-c", conf}, os.Environ(), err
}
