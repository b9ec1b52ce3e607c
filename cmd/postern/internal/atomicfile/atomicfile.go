// Package wholefile replaces files as a whole.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts data into the file at path, which has mode from then on, as a whole
// or not at all: whoever reads it, after a crash too, finds what was there before
// or all of data. A crash leaves at most one file behind, path with .new at its
// end, which the next Write takes. Two writers of one file must take turns.
func Write(path string, data []byte, mode fs.FileMode) error {
	draft := path + ".new"
	err := writeThrough(draft, data, mode)
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = os.Remove(draft) // the first error says more
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// writeThrough makes a file that holds data and is on the disk.
func writeThrough(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(mode); err != nil { // it may have been there
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
