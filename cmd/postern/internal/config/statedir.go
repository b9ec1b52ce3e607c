package config

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
)

// systemState is where the state of a service belongs (Filesystem Hierarchy Standard).
const systemState = "/var/lib/postern"

// defaultStateDir returns the state directory for an environment that does not set
// one: what systemd or the XDG base directory specification says, else system or a
// directory below the home, if this process can write to it or create it. It is empty
// if there is none. Nothing is created.
func defaultStateDir(environ []string, system string) directory {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	// systemd separates several directories by colons.
	first, _, _ := strings.Cut(vars["STATE_DIRECTORY"], ":")
	if filepath.IsAbs(first) {
		return directory(first)
	}
	if home := vars["XDG_STATE_HOME"]; filepath.IsAbs(home) {
		return directory(filepath.Join(home, "postern"))
	}
	if canWrite(system) {
		return directory(system)
	}
	if home := vars["HOME"]; filepath.IsAbs(home) {
		if dir := filepath.Join(home, ".local/state/postern"); canWrite(dir) {
			return directory(dir)
		}
	}
	return ""
}

// canWrite reports whether this process can create files in the directory at path,
// which it may have to create first.
func canWrite(path string) bool {
	const writeAndSearch = 2 | 1 // W_OK | X_OK of access(2)
	err := syscall.Access(path, writeAndSearch)
	if errors.Is(err, syscall.ENOENT) && path != filepath.Dir(path) {
		return canWrite(filepath.Dir(path))
	}
	return err == nil
}
