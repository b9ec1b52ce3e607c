package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

// write puts data into the file called name, as a whole or not at all: whoever
// reads it, after a crash too, finds what was there before or all of data. A crash
// leaves at most one file behind, which the next write takes.
func (d stateDir) write(name string, data []byte) error {
	path, draft := d.path(name), d.path(name)+".new"
	if err := writeThrough(draft, data); err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	return syncFolder(string(d))
}

// setAside renames a damaged file, in the place of the one before it, so that it
// can be looked at and does no harm.
func (d stateDir) setAside(name string) error {
	return os.Rename(d.path(name), d.path(name)+".damaged")
}

func (d stateDir) path(name string) string { return filepath.Join(string(d), name) }

// writeThrough makes a file that holds data and is on the disk.
func writeThrough(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil { // it may have been there
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// syncFolder makes what was renamed in a folder outlast a loss of power.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
