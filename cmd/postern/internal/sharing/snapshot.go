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
	snapshotCheck = time.Second // between looks for snapshots that are due
	snapshotTTL   = time.Hour   // after which the engine drops a snapshot that is not replaced
	// publishEvery is how often one gateway publishes a snapshot of one kind at most: somebody who
	// removes batches could cause it.
	publishEvery = 30 * time.Second
	// chunkPace keeps the octets of snapshots at 4 MB a second.
	chunkPace = share.ChunkSize * time.Second / (4 << 20)
)

// A Snapshot is what gateways that join read of one kind: the sum of the records until then. The
// leader writes it.
type Snapshot struct {
	Kind  share.SnapshotKind
	Every time.Duration
	// Make returns it at time t. An error is logged, and none is written.
	Make func(t time.Time) ([]byte, error)
	// Merge adds, at time t, a snapshot of this age. An error is logged, and the stream is
	// read from its beginning.
	Merge func(t time.Time, age time.Duration, data []byte) error
	// Absent is called instead of Merge if there is no snapshot. It may be nil.
	Absent func(t time.Time)
}

// stream returns the stream that a gateway reads on after it has read the snapshot.
func (sn *Snapshot) stream() share.Stream {
	if sn.Kind == share.SnapshotBuckets {
		return share.Denials
	}
	return share.Known
}

// snapshots writes the snapshots while this gateway is the leader, and publishes them.
type snapshots struct {
	*Sharing
	all   []Snapshot
	asked chan struct{} // wakes run

	mu        sync.Mutex
	written   map[share.SnapshotKind]*written
	toPublish map[share.SnapshotKind]bool // to be written and published, also if another gateway leads
	published map[share.SnapshotKind]time.Time
	toRead    []publishedSnapshot // published by other gateways
}

// A publishedSnapshot is the data of a RecordSnapshot: a snapshot that all other gateways read
// and merge. It is for what no record says.
type publishedSnapshot struct {
	Kind     share.SnapshotKind `json:"kind"`
	Manifest []byte             `json:"manifest"` // sealed
}

// toReadMax bounds toRead.
const toReadMax = 100

// written is what was last written of one kind.
type written struct {
	due     bool // again at once
	at      time.Time
	entries [share.Streams]int // read from the streams until then
	keys    []string           // in the engine
	former  []string           // those of the one before
}

func (w *snapshots) init(s *Sharing) {
	l := s.config.Limiter
	w.Sharing, w.asked, w.written = s, make(chan struct{}, 1), map[share.SnapshotKind]*written{}
	w.toPublish, w.published = map[share.SnapshotKind]bool{}, map[share.SnapshotKind]time.Time{}
	w.all = append([]Snapshot{
		{ // first, because buckets that are empty close accounts to those who are not known
			Kind: share.SnapshotKnown, Every: 10 * time.Minute,
			Make:  func(t time.Time) ([]byte, error) { return l.Snapshot(t), nil },
			Merge: func(t time.Time, _ time.Duration, data []byte) error { return l.MergeShared(t, data) },
		},
		{
			Kind: share.SnapshotBuckets, Every: 30 * time.Second,
			Make:  func(t time.Time) ([]byte, error) { return l.Buckets(t), nil },
			Merge: func(t time.Time, age time.Duration, data []byte) error { return l.MergeBuckets(t.Add(-age), data) },
		},
	}, s.config.Snapshots...)
	for _, sn := range w.all {
		w.written[sn.Kind] = &written{due: true}
	}
}

// PublishKnown publishes the known users of this gateway: it has learned of some without an
// event, such as from a log. The other gateways read and merge them.
func (s *Sharing) PublishKnown() { s.snapshots.publishSoon(share.SnapshotKnown) }

// publishSoon makes run publish snapshots of these kinds.
func (w *snapshots) publishSoon(kinds ...share.SnapshotKind) {
	w.ask(func(w *snapshots) {
		for _, kind := range kinds {
			w.toPublish[kind] = true
		}
	})
}

// publishLimiterSoon makes run publish all that the limiter knows, because events of this
// gateway were lost.
func (w *snapshots) publishLimiterSoon() { w.publishSoon(share.SnapshotBuckets, share.SnapshotKnown) }

// publishAllSoon makes run publish all snapshots, because the engine has lost everything. It is not
// enough that the leader writes its own: it may have joined since, and know nothing.
func (w *snapshots) publishAllSoon() {
	w.ask(func(w *snapshots) {
		for kind, last := range w.written {
			last.due, w.toPublish[kind] = true, true
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
	leads, entries := shared && w.lease.held, w.reading.entries
	w.Sharing.mu.Unlock()
	if !shared {
		return nil
	}
	for _, sn := range w.all {
		if err := w.workOn(ctx, sn, leads && w.isDue(time.Now(), sn, entries)); err != nil {
			return err
		}
	}
	return w.readPublished(ctx)
}

// workOn writes the snapshot of one kind if it is due, or if it is to be published.
func (w *snapshots) workOn(ctx context.Context, sn Snapshot, due bool) error {
	w.mu.Lock()
	publish := w.toPublish[sn.Kind] && time.Since(w.published[sn.Kind]) >= publishEvery
	if publish {
		w.toPublish[sn.Kind], w.published[sn.Kind] = false, time.Now() // unless that happens again meanwhile
	}
	w.mu.Unlock()
	if !due && !publish {
		return nil
	}
	manifest, err := w.write(ctx, sn)
	if err != nil {
		w.note(func(w *snapshots) {
			w.written[sn.Kind].due = due
			if publish {
				w.toPublish[sn.Kind], w.published[sn.Kind] = true, time.Time{}
			}
		})
		return err
	}
	if publish && manifest != nil {
		data, err := json.Marshal(publishedSnapshot{sn.Kind, manifest})
		if err != nil {
			return err
		}
		w.Publish(time.Now(), share.RecordSnapshot, data)
	}
	return nil
}

// readSoon makes run read a snapshot that another gateway has published. data is that of the
// record.
func (w *snapshots) readSoon(data []byte) error {
	var published publishedSnapshot
	if err := json.Unmarshal(data, &published); err != nil {
		return err
	}
	w.ask(func(w *snapshots) {
		if len(w.toRead) < toReadMax {
			w.toRead = append(w.toRead, published)
		}
	})
	return nil
}

// readPublished reads the snapshots that other gateways have published. Its error is one of
// the engine.
func (w *snapshots) readPublished(ctx context.Context) error {
	w.mu.Lock()
	published := w.toRead
	w.toRead = nil
	w.mu.Unlock()
	for i, one := range published {
		for _, sn := range w.all {
			if sn.Kind != one.Kind {
				continue
			}
			if _, err := w.mergeSealed(ctx, sn, one.Manifest, anyAge); err != nil {
				w.note(func(w *snapshots) { w.toRead = append(published[i:], w.toRead...) })
				return err
			}
		}
	}
	return nil
}

// isDue reports whether a snapshot must be written at time t: the last one is old, or half of
// its stream has come since. Otherwise the stream would not reach back to it.
func (w *snapshots) isDue(t time.Time, sn Snapshot, entries [share.Streams]int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.written[sn.Kind]
	of := sn.stream()
	return last.due || t.Sub(last.at) >= sn.Every || entries[of]-last.entries[of] >= lengths[of]/2
}

// write writes one snapshot to the engine: the chunks, and then the manifest. It deletes the
// last but one that this process has written; another gateway may still be reading the last. It
// returns the sealed manifest, nil if the snapshot cannot be made.
func (w *snapshots) write(ctx context.Context, sn Snapshot) ([]byte, error) {
	now := time.Now()
	w.Sharing.mu.Lock()
	m := share.Manifest{Kind: sn.Kind, ID: rand.Uint64(), Made: now.Add(w.presence.ahead), Gateway: w.config.Gateway}
	entries := w.reading.entries
	for i, id := range w.reading.positions {
		m.Positions[i] = share.Position(id)
	}
	w.Sharing.mu.Unlock()
	w.note(func(w *snapshots) { w.written[sn.Kind].due = false }) // unless it becomes due meanwhile
	data, err := sn.Make(now)
	if err != nil {
		w.config.Log.Warn("cannot make a snapshot for other gateways", slog.String("event", "share"), slog.String("kind", string(sn.Kind)), eventlog.Error(err))
		return nil, nil
	}
	sealed, err := w.config.Keys.SealManifest(&m, data)
	if err != nil {
		w.config.Log.Warn("cannot seal a snapshot for other gateways", slog.String("event", "share"), slog.String("kind", string(sn.Kind)), eventlog.Error(err))
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
	if err := w.config.Engine.Set(ctx, w.config.Keys.ManifestName(sn.Kind), sealed, snapshotTTL); err != nil {
		return nil, err
	}
	w.mu.Lock()
	last := w.written[sn.Kind]
	obsolete := last.former
	*last = written{due: last.due, at: now, entries: entries, keys: keys, former: last.keys}
	w.mu.Unlock()
	if len(obsolete) > 0 {
		err = w.config.Engine.Del(ctx, obsolete...)
	}
	return sealed, err
}
