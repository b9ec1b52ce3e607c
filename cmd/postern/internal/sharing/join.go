package sharing

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter/share"
)

// repairEvery is how often snapshots are read again at most, because batches were lost.
const repairEvery = 30 * time.Second

// forgottenFor is how long a limiter remembers that an operator has had an account forgotten, see
// [limiter.Limiter.MergeShared]. In an older snapshot it could be known still, and somebody who can
// write to the engine may have put that there. What was lost lately, its sender publishes again.
const forgottenFor = 10 * time.Minute

// anyAge is for snapshots of any age that open.
const anyAge = time.Duration(math.MaxInt64)

// AwaitJoined waits until this gateway knows what the others know, because it has read what they
// have shared, or until ctx ends. Run must be called meanwhile.
func (s *Sharing) AwaitJoined(ctx context.Context) {
	select {
	case <-s.joined:
	case <-ctx.Done():
	}
}

// join reads the snapshots of the others, and decides from where the streams are read. Its
// error is one of the engine. What cannot be used is left out.
func (s *Sharing) join(ctx context.Context) error {
	if err := s.measureClock(ctx, false); err != nil {
		return err
	}
	var from [share.Streams]engine.ID // what no snapshot of the stream lacks
	var found [share.Streams]bool
	for _, sn := range s.snapshots.all {
		m, err := s.merge(ctx, sn, anyAge)
		if err != nil {
			return err
		}
		of := sn.stream()
		if id := engine.ID(m.Positions[of]); !found[of] || id.Compare(from[of]) < 0 {
			from[of], found[of] = id, true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.reading
	r.merged, r.repaired = true, time.Now()
	r.positions = from
	return nil
}

// repair reads the snapshots again, because batches of other gateways were lost. If the engine
// fails, it is to be done again.
func (s *Sharing) repair(ctx context.Context) error {
	for _, sn := range s.snapshots.all {
		oldest := anyAge
		if sn.Kind == share.SnapshotKnown {
			oldest = forgottenFor
		}
		if _, err := s.merge(ctx, sn, oldest); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reading.gap = true
			return err
		}
	}
	return nil
}

// merge reads the snapshot of one kind, unless it is older than oldest, and merges it with what
// this gateway has. It returns its manifest, which is zero if there is none that can be used. Its
// error is one of the engine.
func (s *Sharing) merge(ctx context.Context, sn Snapshot, oldest time.Duration) (share.Manifest, error) {
	for again := true; ; again = false {
		sealed, err := s.config.Engine.Get(ctx, s.config.Keys.ManifestName(sn.Kind))
		if err != nil {
			return share.Manifest{}, err
		}
		if sealed == nil {
			if sn.Absent != nil {
				sn.Absent(time.Now())
			}
			return share.Manifest{}, nil
		}
		m, err := s.mergeSealed(ctx, sn, sealed, oldest)
		if err != nil || m.Kind != "" || !again { // else another gateway has perhaps replaced it meanwhile
			return m, err
		}
	}
}

// mergeSealed is merge for the snapshot with this manifest.
func (s *Sharing) mergeSealed(ctx context.Context, sn Snapshot, sealed []byte, oldest time.Duration) (share.Manifest, error) {
	clock := s.Clock(time.Now())
	m, unusable := s.config.Keys.OpenManifest(clock, sn.Kind, sealed)
	if unusable == nil && clock.Sub(m.Made) > oldest {
		return share.Manifest{}, nil
	}
	var data []byte
	if unusable == nil {
		var err error
		if data, unusable, err = s.loadChunks(ctx, &m); err != nil {
			return share.Manifest{}, err
		}
	}
	if unusable != nil {
		s.reject("the snapshot of "+string(sn.Kind)+" in the engine", unusable)
		return share.Manifest{}, nil
	}
	if !s.mergeData(sn, max(clock.Sub(m.Made), 0), data) {
		return share.Manifest{}, nil
	}
	return m, nil
}

// mergeData merges a snapshot of that age with what this gateway has, and reports whether it
// could.
func (s *Sharing) mergeData(sn Snapshot, age time.Duration, data []byte) bool {
	err := sn.Merge(time.Now(), age, data)
	if err != nil {
		s.config.Log.Warn("cannot use a snapshot of another gateway", slog.String("event", "share"), slog.String("kind", string(sn.Kind)), eventlog.Error(err))
	}
	return err == nil
}

// loadChunks reads the data of a snapshot. err is one of the engine, unusable one of what it
// has.
func (s *Sharing) loadChunks(ctx context.Context, m *share.Manifest) (data []byte, unusable, err error) {
	for i := range m.Chunks() {
		sealed, err := s.config.Engine.Get(ctx, s.config.Keys.ChunkName(m, i))
		switch {
		case err != nil:
			return nil, nil, err
		case sealed == nil:
			return nil, fmt.Errorf("got no chunk %d of %d", i+1, m.Chunks()), nil
		}
		if data, unusable = s.config.Keys.OpenChunk(m, i, data, sealed); unusable != nil {
			return nil, unusable, nil
		}
	}
	if data == nil {
		data = []byte{}
	}
	return data, m.Check(data), nil
}
