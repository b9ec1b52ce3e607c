package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/metrics"
	"postern/limiter"
)

// The files of STATE_DIR with what the limiter knows. knownFile is useless
// without the key.
const (
	keyFile   = "install-key"
	knownFile = "known"
)

// knownMax is the largest knownFile that is read, in octets.
const knownMax = 1 << 30

// saveEvery is how often knownFile is written. A crash loses as much.
const saveEvery = time.Minute

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

// detectorKey derives the detector's key from that of the installation.
func detectorKey(k limiter.Key) (key [16]byte) {
	sum := sha256.Sum256(append([]byte("watch "), k[:]...))
	copy(key[:], sum[:])
	return key
}

// knownStore keeps on disk which users the limiter knows.
type knownStore struct {
	dir     stateDir // empty if there is none
	limiter *limiter.Limiter
	log     *eventlog.Log
	metrics *metrics.Metrics
}

// restore gives the limiter what it knew before the restart.
func (s *knownStore) restore() {
	if s.dir == "" {
		return
	}
	data, err := s.dir.read(knownFile, knownMax)
	if err == nil && data != nil {
		err = s.limiter.Restore(time.Now(), data)
	}
	if err != nil {
		s.dir.discard(knownFile, err, s.log)
	}
}

// run saves once a minute until ctx ends.
func (s *knownStore) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.save()
		}
	}
}

// save writes what the limiter knows.
func (s *knownStore) save() {
	if s.dir == "" {
		return
	}
	now := time.Now()
	err := s.dir.write(knownFile, s.limiter.Snapshot(now))
	s.metrics.Saved(now, err)
	if err != nil {
		s.log.Error("cannot save state", slog.String("event", "state"), slog.String("file", s.dir.path(knownFile)), eventlog.Error(err))
	}
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
	known, watch, err := learn(key, detectorKey(key))
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
