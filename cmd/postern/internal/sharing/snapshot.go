package sharing

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter/share"
)

const (
	snapshotCheck = time.Second
	snapshotTTL   = time.Hour
	// chunkPace keeps the octets of snapshots at 4 MB a second.
	chunkPace = share.ChunkSize * time.Second / (4 << 20)
)

// A Snapshot is one sort of what gateways that join read. The leader writes it.
type Snapshot struct {
	Sort  share.Sort
	Every time.Duration
	// Make returns it at time t.
	Make func(t time.Time) ([]byte, error)
	// Merge adds one that was made the time age before t. data is nil if there is none.
	Merge func(t time.Time, age time.Duration, data []byte) error
}

// snapshots writes the snapshots while this gateway is the leader.
type snapshots struct {
	*Sharing
	all   []Snapshot
	asked chan struct{} // wakes run

	mu      sync.Mutex
	written map[share.Sort]*written
	taught  map[share.Sort]bool // this gateway has what no record says: to be written, and read by the others
	told    []toldSnapshot      // others have: to be read
}

// A toldSnapshot is the data of a RecordTaught: a snapshot that all are to read.
type toldSnapshot struct {
	Sort     share.Sort `json:"sort"`
	Manifest []byte     `json:"manifest"` // sealed
}

// toldMax is how many of them may wait to be read.
const toldMax = 100

// written is what was last written of one sort.
type written struct {
	due     bool // again at once
	at      time.Time
	entries [share.Streams]int // read from the streams until then
	keys    []string           // in the engine
	former  []string           // those of the one before
}

func (w *snapshots) init(s *Sharing) {
	l := s.config.Limiter
	w.Sharing, w.asked, w.written = s, make(chan struct{}, 1), map[share.Sort]*written{}
	w.taught = map[share.Sort]bool{}
	w.all = append([]Snapshot{
		{
			share.SortBuckets, 30 * time.Second,
			func(t time.Time) ([]byte, error) { return l.Buckets(t), nil },
			func(t time.Time, age time.Duration, data []byte) error {
				if data == nil {
					return nil
				}
				return l.MergeBuckets(t.Add(-age), data)
			},
		},
		{
			share.SortKnown, 10 * time.Minute,
			func(t time.Time) ([]byte, error) { return l.Snapshot(t), nil },
			func(t time.Time, _ time.Duration, data []byte) error {
				if data == nil {
					return nil
				}
				return l.MergeShared(t, data)
			},
		},
	}, s.config.Snapshots...)
	for _, sn := range w.all {
		w.written[sn.Sort] = &written{due: true}
	}
}

// Taught tells the other gateways that this one has learned of users what no event says:
// they read its known users.
func (s *Sharing) Taught() { s.snapshots.teach(share.SortKnown) }

// teach has snapshots of these sorts written and read by the other gateways.
func (w *snapshots) teach(sorts ...share.Sort) {
	w.ask(func(w *snapshots) {
		for _, sort := range sorts {
			w.taught[sort] = true
		}
	})
}

// writeAll has all snapshots written soon.
func (w *snapshots) writeAll() {
	w.ask(func(w *snapshots) {
		for _, last := range w.written {
			last.due = true
		}
	})
}

// ask changes what run is to do, and wakes it.
func (w *snapshots) ask(change func(*snapshots)) {
	w.note(change)
	signal(w.asked)
}

// note changes what run is to do, without waking it.
func (w *snapshots) note(change func(*snapshots)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// run writes what is due, until ctx ends.
func (w *snapshots) run(ctx context.Context) {
	tick := time.NewTicker(snapshotCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.asked:
		}
		if err := w.work(ctx); err != nil && ctx.Err() == nil {
			w.failed("write snapshots to the engine", err)
		}
	}
}

// work does what is due. Its error is one of the engine.
func (w *snapshots) work(ctx context.Context) error {
	w.Sharing.mu.Lock()
	shared := w.presence.mode == monitor.Shared
	leads, entries := shared && w.presence.leads, w.reading.entries
	w.Sharing.mu.Unlock()
	if !shared {
		return nil
	}
	for _, sn := range w.all {
		if err := w.workOn(ctx, sn, leads && w.isDue(time.Now(), sn, entries)); err != nil {
			return err
		}
	}
	return w.readTold(ctx)
}

// workOn writes one sort if it is due, or if the others are to read it.
func (w *snapshots) workOn(ctx context.Context, sn Snapshot, due bool) error {
	w.mu.Lock()
	taught := w.taught[sn.Sort]
	w.taught[sn.Sort] = false // unless that happens again meanwhile
	w.mu.Unlock()
	if !due && !taught {
		return nil
	}
	manifest, err := w.write(ctx, sn)
	if err != nil {
		w.note(func(w *snapshots) { w.written[sn.Sort].due, w.taught[sn.Sort] = due, taught || w.taught[sn.Sort] })
		return err
	}
	if taught && manifest != nil {
		data, err := json.Marshal(toldSnapshot{sn.Sort, manifest})
		if err != nil {
			return err
		}
		w.Publish(time.Now(), share.RecordTaught, data)
	}
	return nil
}

// tell notes a snapshot that another gateway wants to be read.
func (w *snapshots) tell(data []byte) error {
	var told toldSnapshot
	if err := json.Unmarshal(data, &told); err != nil {
		return err
	}
	w.ask(func(w *snapshots) {
		if len(w.told) < toldMax {
			w.told = append(w.told, told)
		}
	})
	return nil
}

// readTold reads what other gateways want to be read.
func (w *snapshots) readTold(ctx context.Context) error {
	w.mu.Lock()
	told := w.told
	w.told = nil
	w.mu.Unlock()
	for i, one := range told {
		for _, sn := range w.all {
			if sn.Sort != one.Sort {
				continue
			}
			if _, err := w.mergeSealed(ctx, sn, one.Manifest); err != nil {
				w.note(func(w *snapshots) { w.told = append(told[i:], w.told...) })
				return err
			}
		}
	}
	return nil
}

// isDue reports whether a sort is to be written at time t: it is old, or the streams have
// had so many entries since that what follows it is no longer in them all.
func (w *snapshots) isDue(t time.Time, sn Snapshot, entries [share.Streams]int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.written[sn.Sort]
	due := last.due || t.Sub(last.at) >= sn.Every
	switch sn.Sort {
	case share.SortBuckets:
		due = due || entries[share.Denials]-last.entries[share.Denials] >= lengths[share.Denials]/2
	case share.SortKnown:
		due = due || entries[share.Known]-last.entries[share.Known] >= lengths[share.Known]/2
	}
	return due
}

// write writes one snapshot to the engine: the chunks, and then the manifest. Of the
// snapshots of a sort that this process has written, the engine keeps two. It returns the
// sealed manifest, nil if there can be none.
func (w *snapshots) write(ctx context.Context, sn Snapshot) ([]byte, error) {
	now := time.Now()
	w.Sharing.mu.Lock()
	m := share.Manifest{Sort: sn.Sort, Generation: rand.Uint64(), Made: now.Add(w.presence.ahead), Gateway: w.config.Gateway}
	entries := w.reading.entries
	for i, id := range w.reading.positions {
		m.Positions[i] = share.Position(id)
	}
	w.Sharing.mu.Unlock()
	w.note(func(w *snapshots) { w.written[sn.Sort].due = false }) // unless it becomes due meanwhile
	data, err := sn.Make(now)
	if err != nil {
		w.config.Log.Warn("cannot make a snapshot for other gateways", slog.String("event", "share"), slog.String("sort", string(sn.Sort)), eventlog.Error(err))
		return nil, nil
	}
	sealed, err := w.config.Keys.SealManifest(&m, data)
	if err != nil {
		w.config.Log.Warn("cannot seal a snapshot for other gateways", slog.String("event", "share"), slog.String("sort", string(sn.Sort)), eventlog.Error(err))
		return nil, nil
	}
	var keys []string
	for i := range m.Chunks() {
		keys = append(keys, w.config.Keys.ChunkName(&m, i))
		if err := w.config.Engine.Set(ctx, keys[i], w.config.Keys.SealChunk(&m, i, data), snapshotTTL); err != nil {
			return nil, err
		}
		if i+1 < m.Chunks() && !pause(ctx, chunkPace) {
			return nil, ctx.Err()
		}
	}
	if err := w.config.Engine.Set(ctx, w.config.Keys.ManifestName(sn.Sort), sealed, snapshotTTL); err != nil {
		return nil, err
	}
	w.mu.Lock()
	last := w.written[sn.Sort]
	obsolete := last.former
	*last = written{due: last.due, at: now, entries: entries, keys: keys, former: last.keys}
	w.mu.Unlock()
	if len(obsolete) > 0 {
		err = w.config.Engine.Del(ctx, obsolete...)
	}
	return sealed, err
}
