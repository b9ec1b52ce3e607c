// Package atomicfile replaces files atomically: a reader sees the old content or
// the new one, also after a crash or a loss of power.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces the file at path with one that contains data and has the given
// mode. After a nil error the new content is on the disk; after an error the old
// file is unchanged. A crash may leave path with the suffix .new, which the next
// Write overwrites. Two concurrent Writes of one path are not safe.
func Write(path string, data []byte, mode fs.FileMode) error {
	temporary := path + ".new"
	err := writeSynced(temporary, data, mode)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // the first error is the cause
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeSynced creates or truncates the file at path, writes data and syncs it.
func writeSynced(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(mode); err != nil { // an existing file keeps its mode on open
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir syncs a directory, so that a rename in it survives a loss of power.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
