package peer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// nginx is its mail module, which asks an HTTP server where to relay a login.
var nginx = Kind{
	Name: "nginx", About: "mail module: sees logins, asks auth_http about each", StartTLS: true,
	find:      findNginx,
	version:   []string{"-v"},
	configure: configureNginx,
}

var nginxModules = regexp.MustCompile(`--modules-path=(\S+)`)

// findNginx wants the mail module too.
func findNginx() (string, error) {
	program, err := look("nginx", "nginx libnginx-mod-mail")
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

func configureNginx(s Setup, program string, d doors) (args, env []string, err error) {
	module, err := mailModule(program)
	if err != nil {
		return nil, nil, err
	}
	conf, err := write(s, d, "nginx.conf", map[string]any{"Module": module})
	return []string{"-p", s.Dir, "-e", "stderr", "-c", conf}, os.Environ(), err
}
