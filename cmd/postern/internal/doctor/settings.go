package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"postern/cmd/postern/internal/config"
)

// envFileUsual is where the service unit and the packages have the settings.
const envFileUsual = "/etc/postern/postern.env"

// checkSettings reports every wrong setting, and what is valid but may surprise.
func (e *examination) checkSettings(context.Context) (found []Finding) {
	const check = "settings"
	for _, err := range e.wrong {
		found = append(found, failure(check, err.Error(), e.settingsRemedy(err)))
	}
	if len(e.wrong) == 0 {
		for _, line := range e.config.Warnings() {
			found = append(found, warning(check, line, "change this setting, unless it is meant; `postern config "+nameIn(line)+"` describes it"))
		}
	}
	if e.envFile() == "" && exists(envFileUsual) && !slices.ContainsFunc(e.Environ, isSetting) {
		found = append(found, warning(check, "this command has no settings, and there are some in "+envFileUsual,
			"run it as `sudo "+config.Prefix+"ENV_FILE="+envFileUsual+" postern doctor`"))
	}
	if len(found) > 0 {
		return found
	}
	where := "environment"
	if path := e.envFile(); path != "" {
		where += " and " + path
	}
	return []Finding{ok(check, "%s: correct", where)}
}

// settingsRemedy says what to do about an error in the settings.
func (e *examination) settingsRemedy(err error) string {
	switch {
	case e.unreadable() && errors.Is(err, fs.ErrPermission):
		return "run this command as root, or let this user read the file; all other checks need the settings"
	case e.unreadable():
		return "correct the file, or the path in " + config.Prefix + "ENV_FILE; all other checks need the settings"
	case e.envFile() != "":
		return "correct it in " + e.envFile() + ", then `postern reload`, or restart postern if `postern config " + nameIn(err.Error()) + "` says so"
	}
	return "correct the variable in the environment of postern and restart it; `postern config " + nameIn(err.Error()) + "` describes it"
}

// nameIn is the name of the setting that a line begins with.
func nameIn(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return strings.TrimPrefix(name, config.Prefix)
}

// unreadable reports whether the file with the settings cannot be used, so that nothing
// is known about them.
func (e *examination) unreadable() bool {
	return len(e.wrong) == 1 && strings.HasPrefix(e.wrong[0].Error(), config.Prefix+"ENV_FILE:")
}

// envFile is the path in ENV_FILE.
func (e *examination) envFile() string {
	path := ""
	for _, v := range e.Environ {
		if value, found := strings.CutPrefix(v, config.Prefix+"ENV_FILE="); found {
			path = strings.TrimSpace(value)
		}
	}
	return path
}

// isSetting reports whether an environment variable is a setting.
func isSetting(variable string) bool { return strings.HasPrefix(variable, config.Prefix) }

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readPassword returns the first line of a file. Others than its owner should not be able
// to read it.
func readPassword(path string) (password string, found []Finding, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read the password: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	password = string(bytes.TrimSuffix(line, []byte{'\r'}))
	switch {
	case password == "":
		return "", nil, fmt.Errorf("read the password: got nothing in the first line of %s, want a password", path)
	case strings.ContainsRune(password, 0):
		return "", nil, fmt.Errorf("read the password: got a NUL in the first line of %s, want text", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("read the password: %w", err)
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		found = append(found, warning("password file", fmt.Sprintf("%s has mode %04o: not only its owner can use it", path, mode.Perm()), "chmod 600 "+path))
	}
	return password, found, nil
}
