package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"postern/cmd/postern/internal/atomicfile"
	"postern/cmd/postern/internal/eventlog"
)

// stateDir is the path of the directory with what survives a restart. Other
// users cannot read what is in it. It is empty if there is none.
type stateDir string

// create makes the directory unless it exists.
func (d stateDir) create() error { return os.MkdirAll(string(d), 0o700) }

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
