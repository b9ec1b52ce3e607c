package daemon

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
)

// The files of STATE_DIR with what the limiter knows. knownFile is useless
// without the key.
const (
	keyFile      = "install-key"
	knownFile    = "known"
	knownOldFile = "known.old" // see snapshots.go
)

// otherKeyEnds is appended to the names of files that were made under another key.
const otherKeyEnds = ".other-key"

// installKey returns the key of this installation: that in KEY_FILE, of which STATE_DIR has a copy, or without that setting the
// one in STATE_DIR, which it creates at the first start. Without a state directory every start is the first. A corrupt key in
// STATE_DIR is replaced, and all that was known is lost with it.
func installKey(c *config.Config, log *eventlog.Log) (key limiter.Key, err error) {
	dir, shared := stateDir(c.State.Dir), c.Share.KeyFile != ""
	if shared {
		key, err = config.ReadKeyFile(string(c.Share.KeyFile))
	} else {
		rand.Read(key[:])
	}
	if err != nil || dir == "" {
		return key, err
	}
	if err := dir.create(); err != nil {
		return key, config.Errorf("STATE_DIR", "%w", err)
	}
	kept, err := dir.readKey()
	switch {
	case err != nil:
		dir.discard(keyFile, err, log)
	case kept != nil && (!shared || *kept == key):
		return *kept, nil
	case kept != nil:
		if err := dir.setAside(string(c.Share.KeyFile), log); err != nil {
			return key, config.Errorf("STATE_DIR", "%w", err)
		}
	}
	if err := dir.write(keyFile, key[:]); err != nil {
		return key, config.Errorf("STATE_DIR", "%w", err)
	}
	return key, nil
}

// readKey returns the key in the directory, nil if there is none.
func (d stateDir) readKey() (*limiter.Key, error) {
	var key limiter.Key
	kept, err := d.read(keyFile, int64(len(key)))
	if err != nil || kept == nil {
		return nil, err
	}
	if len(kept) != len(key) {
		return nil, fmt.Errorf("got %d octets, want %d", len(kept), len(key))
	}
	key = limiter.Key(kept)
	return &key, nil
}

// setAside renames what was learned under another key than that in the file at path, which cannot be read any more.
func (d stateDir) setAside(path string, log *eventlog.Log) error {
	known := false
	for _, name := range []string{knownFile, knownOldFile, keyFile} { // the key last: without it, this is not tried again
		_, err := os.Lstat(d.path(name))
		known = known || err == nil && name != keyFile
		if err := d.rename(name, name+otherKeyEnds); err != nil {
			return err
		}
	}
	if !known {
		return nil
	}
	log.Warn("KEY_FILE has another key than this gateway had: the users it knew are strangers now, unless other gateways know them. "+
		"To keep them, make the key file with `postern key` on the gateway that knows most; what this one knew is in the files that end with "+otherKeyEnds,
		slog.String("event", "state"), slog.String("file", path), slog.String("directory", string(d)))
	return nil
}

// CurrentKey returns the key with which a gateway with these settings would start, and the file that has it. Without a key yet, path is empty.
// It creates nothing.
func CurrentKey(c *config.Config) (key limiter.Key, path string, err error) {
	if path := string(c.Share.KeyFile); path != "" {
		if key, err := config.ReadKeyFile(path); !errors.Is(err, fs.ErrNotExist) {
			return key, path, err
		}
	}
	dir := stateDir(c.State.Dir)
	if dir == "" {
		return key, "", nil
	}
	kept, err := dir.readKey()
	if err != nil || kept == nil {
		return key, "", err
	}
	return *kept, dir.path(keyFile), nil
}

// DetectorKey derives the detector's key from that of the installation.
func DetectorKey(k limiter.Key) (key [16]byte) {
	sum := sha256.Sum256(append([]byte("watch "), k[:]...))
	copy(key[:], sum[:])
	return key
}

// Seed creates a state directory for c with what a gateway would have learned in
// days. learn returns it: a snapshot of a limiter with this key, and one of a
// watch with its own. For the demo, which does not last that long.
func Seed(c *config.Config, log *eventlog.Log, learn func(limiter.Key, [16]byte) (known, watch []byte, err error)) error {
	dir := stateDir(c.State.Dir)
	key, err := installKey(c, log)
	if err != nil {
		return err
	}
	known, watch, err := learn(key, DetectorKey(key))
	if err != nil {
		return err
	}
	if err := dir.write(knownFile, known); err != nil {
		return err
	}
	sub := stateDir(incidentsDir(c))
	if err := sub.create(); err != nil {
		return err
	}
	return sub.write(incidents.SnapshotFile, watch)
}
