package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"postern/cmd/postern/internal/config"
)

// Free space of the state directory, in octets. The files in it are replaced by writing
// new ones beside them.
const (
	freeLittle = 256 << 20
	freeNone   = 16 << 20
)

// The names of files in the state directory.
const (
	lockFile      = "lock"
	damagedSuffix = ".damaged" // of a file that postern could not read and has renamed
)

// checkStateDir checks the directory in STATE_DIR and every file in it.
func (e *examination) checkStateDir(context.Context) (found []Finding) {
	check := "state directory"
	dir := string(e.config.State.Dir)
	if dir == "" {
		return []Finding{warning(check, "none: after a restart all users are strangers, and there is no attack detection", "set "+config.Prefix+"STATE_DIR to a path")}
	}
	check += " " + dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.running == nil:
		return []Finding{checkParent(check, dir)}
	case err != nil:
		return []Finding{failure(check, err.Error(), "create it for the user of postern, with mode 0700, or correct "+config.Prefix+"STATE_DIR")}
	case !info.IsDir():
		return []Finding{failure(check, "is no directory", "correct "+config.Prefix+"STATE_DIR")}
	}
	found = append(found, e.checkOwner(check, dir, info)...)
	found = append(found, checkSpace(check, dir)...)
	found = append(found, e.checkLock(check, filepath.Join(dir, lockFile))...)
	files, more := checkFiles(check, dir)
	found = append(found, more...)
	if len(found) == 0 {
		found = append(found, ok(check, "writable, for its owner only, %d files readable", files))
	}
	return found
}

// checkParent checks that a directory which does not exist can be created.
func checkParent(check, dir string) Finding {
	parent := filepath.Dir(dir)
	for !exists(parent) && parent != filepath.Dir(parent) {
		parent = filepath.Dir(parent)
	}
	if err := syscall.Access(parent, accessWrite); err != nil {
		return failure(check, fmt.Sprintf("does not exist and cannot be created in %s: %v", parent, err), "create it for the user of postern, with mode 0700, or correct "+config.Prefix+"STATE_DIR")
	}
	return ok(check, "does not exist yet and can be created")
}

// accessWrite is W_OK and X_OK of access(2).
const accessWrite = 2 | 1

// checkOwner checks who may use the directory.
func (e *examination) checkOwner(check, dir string, info fs.FileInfo) (found []Finding) {
	owner := ownerOf(info)
	user, who := os.Geteuid(), "this user"
	if e.process.pid != 0 {
		user, who = e.process.uid, "the user of the running postern"
	}
	if owner >= 0 && user != owner && user != 0 {
		found = append(found, failure(check, fmt.Sprintf("belongs to user ID %d, and %s has %d", owner, who, user), fmt.Sprintf("chown -R to the user of postern, or correct %sSTATE_DIR", config.Prefix)))
	} else if err := syscall.Access(dir, accessWrite); err != nil {
		found = append(found, failure(check, fmt.Sprintf("cannot be written: %v", err), "chmod u+rwx "+dir+"; with systemd, StateDirectory= or ReadWritePaths= must name it"))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		found = append(found, warning(check, fmt.Sprintf("has mode %04o: keys and known users are in it", mode), "chmod 700 "+dir))
	}
	return found
}

// ownerOf is the user ID of the owner of a file, or -1.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// checkSpace checks the free space of the file system.
func checkSpace(check, dir string) []Finding {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return nil
	}
	free := s.Bavail * uint64(s.Bsize)
	remedy := "free space on the file system, or move " + config.Prefix + "STATE_DIR to another one"
	switch {
	case s.Files > 0 && s.Ffree == 0:
		return []Finding{failure(check, "its file system has no inode left", remedy)}
	case free < freeNone:
		return []Finding{failure(check, fmt.Sprintf("only %d MB are free: state cannot be stored", free>>20), remedy)}
	case free < freeLittle:
		return []Finding{warning(check, fmt.Sprintf("only %d MB are free", free>>20), remedy)}
	}
	return nil
}

// checkLock checks that the running gateway uses the directory, and no other does.
func (e *examination) checkLock(check, path string) []Finding {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.running == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{warning(check, "the running postern does not use it", "give this command the settings of the running postern: "+config.Prefix+"STATE_DIR is another one there")}
	case err != nil:
		return []Finding{unreadableFile(check, err)}
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) // released with f
	text := make([]byte, 20)
	n, _ := f.Read(text)
	pid := strings.TrimSpace(string(text[:n]))
	switch locked := errors.Is(err, syscall.EWOULDBLOCK); {
	case locked && e.running == nil && e.config.Admin.Listen != "":
		return []Finding{failure(check, "process "+pid+" uses it, and no postern answers at "+config.Prefix+"ADMIN_LISTEN",
			"if that is postern, give this command its settings; else end the process")}
	case !locked && e.running != nil:
		return []Finding{warning(check, "the running postern does not use it", "give this command the settings of the running postern: "+config.Prefix+"STATE_DIR is another one there")}
	}
	return nil
}

// unreadableFile is the Finding for a file in the state directory that cannot be read.
func unreadableFile(check string, err error) Finding {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return failure(check, err.Error(), "run this command as root or as the user of postern; if it is that user, chown the file to it")
	}
	return failure(check, err.Error(), "chown it to the user of postern, or restore it")
}

// futureMax is how far in the future a file may have been changed, by the clock.
const futureMax = time.Minute

// fileCheck is a check of all files in a directory.
type fileCheck struct {
	check  string
	files  int
	found  []Finding
	future []string // changed after now
	open   []string // that every user can read
}

// checkFiles checks every file in the directory, at any depth, and returns how many there
// are.
func checkFiles(check, dir string) (files int, found []Finding) {
	c := fileCheck{check: check}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			c.files++
			err = c.add(path, entry)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // postern may have replaced it meanwhile
			c.found = append(c.found, unreadableFile(check, err))
		}
		return nil
	})
	if err != nil {
		c.found = append(c.found, unreadableFile(check, err))
	}
	if len(c.open) > 0 {
		c.found = append(c.found, warning(check, fmt.Sprintf("every user can read %s", listed(c.open)), "chmod -R go-rwx "+dir))
	}
	if len(c.future) > 0 {
		c.found = append(c.found, warning("clock", fmt.Sprintf("%s changed in the future: the clock was ahead, or is behind now", listed(c.future)),
			"set the clock, then restart postern: it keeps what it knew as known.old if the clock has changed much"))
	}
	return c.files, c.found
}

// add checks one file. Its error is that the file cannot be read.
func (c *fileCheck) add(path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	f.Close()
	if good, damaged := strings.CutSuffix(path, damagedSuffix); damaged {
		c.found = append(c.found, warning(c.check, path+": postern could not read this file and has renamed it",
			"restore "+good+" from a backup while postern does not run, and remove the damaged file"))
	}
	if info.Mode().Perm()&0o007 != 0 {
		c.open = append(c.open, path)
	}
	if time.Until(info.ModTime()) > futureMax {
		c.future = append(c.future, path)
	}
	return nil
}

// listed is the first of paths and how many more there are.
func listed(paths []string) string {
	if len(paths) == 1 {
		return paths[0]
	}
	return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
}
