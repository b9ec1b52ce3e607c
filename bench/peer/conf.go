package peer

import (
	"embed"
	"net"
	"os"
	"path/filepath"
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

// write fills in a configuration, puts it into the target's folder and returns
// where it is.
func write(s Setup, d doors, name string, more map[string]any) (string, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	files := min(limit.Max, 1<<20)
	values := map[string]any{
		"Setup": s, "Doors": d, "Cores": runtime.NumCPU(),
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
