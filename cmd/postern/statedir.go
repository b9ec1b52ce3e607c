package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"postern/cmd/postern/internal/atomicfile"
)

// stateDir is the folder of what survives a restart. Nobody but the gate may read
// what is in it.
type stateDir string

// make makes the folder unless it is there.
func (d stateDir) make() error { return os.MkdirAll(string(d), 0o700) }

// read returns what the file called name holds, at most limit octets of it. There
// is nothing in a file that is not there.
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
		return nil, fmt.Errorf("%s is larger than %d octets", f.Name(), limit)
	}
	return data, err
}

// write puts data into the file called name, as a whole or not at all.
func (d stateDir) write(name string, data []byte) error {
	return atomicfile.Write(d.path(name), data, 0o600)
}

// setAside renames a damaged file, in the place of the one before it, so that it
// can be looked at and does no harm.
func (d stateDir) setAside(name string) error {
	return os.Rename(d.path(name), d.path(name)+".damaged")
}

func (d stateDir) path(name string) string { return filepath.Join(string(d), name) }
