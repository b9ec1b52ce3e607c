package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"postern/cmd/postern/internal/atomicfile"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

// stateDir is the path of the directory with what survives a restart. Other
// users cannot read what is in it. It is empty if there is none.
type stateDir string

// create makes the directory unless it exists.
func (d stateDir) create() error { return os.MkdirAll(string(d), 0o700) }

// lockFile is locked while a gateway uses the directory. It contains the gateway's
// process ID.
const lockFile = "lock"

// lockState creates dir, unless it is empty, and locks it.
func lockState(dir stateDir) (*os.File, error) {
	if dir == "" {
		return nil, nil
	}
	err := dir.create()
	var lock *os.File
	if err == nil {
		lock, err = dir.lock()
	}
	if err != nil {
		return nil, config.Errorf("STATE_DIR", "%w", err)
	}
	return lock, nil
}

// ErrInUse is the error for a state directory that another process uses.
var ErrInUse = errors.New("another postern uses it")

// lock makes sure that no other gateway uses the directory until the file that it
// returns is closed, at the latest when the process ends. The error says which
// process has the lock.
func (d stateDir) lock() (*os.File, error) {
	f, err := os.OpenFile(d.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = inUse(fmt.Sprintf("got %s, which another postern uses%s, want a directory of its own for each", d, lockOwner(f)))
	case err != nil:
		err = fmt.Errorf("lock %s: %w", f.Name(), err)
	default:
		err = recordOwner(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// inUse is an ErrInUse with a text of its own.
type inUse string

func (e inUse) Error() string        { return string(e) }
func (e inUse) Is(target error) bool { return target == ErrInUse }

// recordOwner writes the ID of this process into f.
func recordOwner(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0) // the offset is shared with a process that has passed f
	return err
}

// lockOwner names the process that has locked f, or returns "".
func lockOwner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 20))
	pid, wrong := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || wrong != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// read returns what the file called name holds, which must be at most limit
// octets. It returns nil for a file that does not exist.
func (d stateDir) read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: got more than %d octets", f.Name(), limit)
	}
	return data, err
}

// write replaces the file called name, atomically.
func (d stateDir) write(name string, data []byte) error {
	return atomicfile.Write(d.path(name), data, 0o600)
}

// rename renames a file, and replaces one that has the new name. If there is no file
// called name, nothing changes.
func (d stateDir) rename(name, newName string) error {
	return ignoreNotExist(os.Rename(d.path(name), d.path(newName)))
}

// remove removes the file called name, if there is one.
func (d stateDir) remove(name string) error { return ignoreNotExist(os.Remove(d.path(name))) }

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// discard renames a corrupt file, so that it can be examined, and logs that.
// A file that was renamed before is replaced.
func (d stateDir) discard(name string, why error, log *eventlog.Log) {
	renamed := d.path(name) + ".damaged"
	text := fmt.Sprintf("state file corrupt: renamed to %s, starting empty", renamed)
	if err := os.Rename(d.path(name), renamed); err != nil {
		text = "state file corrupt and cannot be renamed, starting empty"
		why = errors.Join(why, err)
	}
	log.Error(text, slog.String("event", "state"), slog.String("file", d.path(name)), eventlog.Error(why))
}

func (d stateDir) path(name string) string { return filepath.Join(string(d), name) }
