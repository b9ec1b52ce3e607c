package daemon

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"

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

// installKey returns the key of this installation, which it creates at the first
// start. Without a state directory every start is the first. A corrupt key is
// replaced, and all that was known is lost with it.
func installKey(dir stateDir, log *eventlog.Log) (key limiter.Key, err error) {
	rand.Read(key[:])
	if dir == "" {
		return key, nil
	}
	if err := dir.create(); err != nil {
		return key, config.Errorf("STATE_DIR", "%w", err)
	}
	kept, err := dir.read(keyFile, int64(len(key)))
	if err == nil && kept != nil && len(kept) != len(key) {
		err = fmt.Errorf("got %d octets, want %d", len(kept), len(key))
	}
	switch {
	case err != nil:
		dir.discard(keyFile, err, log)
	case kept != nil:
		return limiter.Key(kept), nil
	}
	if err := dir.write(keyFile, key[:]); err != nil {
		return key, config.Errorf("STATE_DIR", "%w", err)
	}
	return key, nil
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
	key, err := installKey(dir, log)
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
