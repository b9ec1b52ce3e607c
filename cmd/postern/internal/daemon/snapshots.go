package daemon

import (
	"log/slog"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/metrics"
	"postern/limiter"
)

// Every minute a new snapshot of the known users replaces the last one. If the clock
// is wrong, all users expire, or are learned at times that count for nothing once the
// clock is right. So the last snapshot is renamed to knownOldFile, instead of being
// replaced, if the clock seems wrong or most accounts are missing from the new one. The
// next start restores both files.
//
// knownOldFile is replaced only by a snapshot that supersedes it, and removed once
// knownFile supersedes it. Which of two clocks was right need not be known for that.

// knownMax is the largest snapshot that is read, in octets.
const knownMax = 1 << 30

// saveEvery is how often knownFile is written. A crash loses as much.
const saveEvery = time.Minute

const (
	// clockTolerance is how far the times of two successive snapshots, or of the
	// last one and the start, may be apart before one of them counts as wrong.
	clockTolerance = 24 * time.Hour
	// fewAccounts is how many accounts a snapshot may lose without a warning:
	// small sites change quickly.
	fewAccounts = 100
)

// snapshotInfo is what the head of a snapshot says. It is zero if there is none.
type snapshotInfo struct {
	Made     time.Time
	Accounts int
}

// infoOf returns the head of data, zero without data.
func infoOf(data []byte) (i snapshotInfo, err error) {
	if data != nil {
		i.Made, i.Accounts, err = limiter.SnapshotInfo(data)
	}
	return i, err
}

// disagrees reports whether the clock at t cannot be right if it was right when i
// was made, unless the gateway did not run in between.
func (i snapshotInfo) disagrees(t time.Time) bool {
	return i.Accounts > 0 && t.Sub(i.Made).Abs() > clockTolerance
}

// loses reports whether next has far fewer accounts than i.
func (i snapshotInfo) loses(next snapshotInfo) bool {
	return i.Accounts >= fewAccounts && next.Accounts < i.Accounts/2
}

// supersedes reports whether i has at least as many accounts as former, and is not
// older: at any time, at least as many accounts of it count.
func (i snapshotInfo) supersedes(former snapshotInfo) bool {
	return i.Accounts >= former.Accounts && !i.Made.Before(former.Made)
}

// knownStore keeps on disk which users the limiter knows.
type knownStore struct {
	dir     stateDir // empty if there is none
	limiter *limiter.Limiter
	log     *eventlog.Log
	metrics *metrics.Metrics

	saving    sync.Mutex   // held while files are written
	last, old snapshotInfo // of knownFile and knownOldFile
	doubt     bool         // the clock disagreed with knownFile at the start
}

// savedFiles is what a process knows of its files, for the next one.
type savedFiles struct {
	Last, Old snapshotInfo
	Doubt     bool
}

// saved returns what s knows of the files.
func (s *knownStore) saved() savedFiles {
	s.saving.Lock()
	defer s.saving.Unlock()
	return savedFiles{s.last, s.old, s.doubt}
}

// takeOver goes on with the files of another process.
func (s *knownStore) takeOver(m savedFiles) { s.last, s.old, s.doubt = m.Last, m.Old, m.Doubt }

// restore gives the limiter what it knew before the restart, at the time now.
func (s *knownStore) restore(now time.Time) {
	if s.dir == "" {
		return
	}
	s.last = s.restoreFile(knownFile, now)
	s.old = s.restoreFile(knownOldFile, now)
	if s.doubt = s.last.disagrees(now); s.doubt {
		s.log.Warn("the clock and the last snapshot of the known users are more than a day apart; unless postern was off for so long, check the clock",
			slog.String("event", "state"), slog.String("file", s.dir.path(knownFile)), slog.Time("clock", now), slog.Time("snapshot", s.last.Made))
	}
}

// restoreFile gives the limiter what a file contains, and returns its head. What the
// limiter knows already does not change.
func (s *knownStore) restoreFile(name string, now time.Time) (i snapshotInfo) {
	data, err := s.dir.read(name, knownMax)
	if err == nil && data != nil {
		if err = s.limiter.Restore(now, data); err == nil {
			i, err = infoOf(data)
		}
	}
	if err != nil {
		s.dir.discard(name, err, s.log)
	}
	return i
}

// save writes what the limiter knows at the time now.
func (s *knownStore) save(now time.Time) {
	if s.dir == "" {
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	err := s.replace(now, s.limiter.Snapshot(now))
	s.metrics.Saved(now, err)
	if err != nil {
		s.log.Error("cannot save state", slog.String("event", "state"), slog.String("file", s.dir.path(knownFile)), eventlog.Error(err))
	}
}

// replace makes data, a snapshot of the time now, the content of knownFile.
func (s *knownStore) replace(now time.Time, data []byte) error {
	next, err := infoOf(data)
	if err != nil {
		return err
	}
	if !next.supersedes(s.last) && (s.doubt || s.last.disagrees(now) || s.last.loses(next)) {
		if err := s.keepLast(next); err != nil {
			return err
		}
	}
	if err := s.dir.write(knownFile, data); err != nil {
		return err
	}
	s.last, s.doubt = next, false
	if s.old != (snapshotInfo{}) && next.supersedes(s.old) {
		s.old = snapshotInfo{}
		return s.dir.remove(knownOldFile)
	}
	return nil
}

// keepLast renames knownFile to knownOldFile, before next replaces it, unless the
// present knownOldFile is better.
func (s *knownStore) keepLast(next snapshotInfo) error {
	last := s.last
	if last.supersedes(s.old) {
		if err := s.dir.rename(knownFile, knownOldFile); err != nil {
			return err
		}
		s.old = last
	}
	s.log.Warn("the clock has changed by more than a day, or far fewer users are known than before: keeping a former snapshot, which the next start restores too",
		slog.String("event", "state"), slog.String("file", s.dir.path(knownOldFile)),
		slog.Int("accounts_before", last.Accounts), slog.Int("accounts", next.Accounts), slog.Int("accounts_kept", s.old.Accounts),
		slog.Time("clock", next.Made), slog.Time("snapshot", last.Made))
	return nil
}
