package sharing

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/share"
)

// TestJoiningEnds: a gateway that starts while the engine answers reads and takes no batches counts alone and notifies people.
func TestJoiningEnds(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	e.Do("REPLICAOF", "127.0.0.1", "1")
	e.Do("CONFIG", "SET", "replica-serve-stale-data", "yes")
	a := start(t, "a", e.URL())
	a.awaitMode(t, monitor.Alone)
	if !a.isLeading() {
		t.Error("it does not notify people")
	}
	e.Do("REPLICAOF", "NO", "ONE")
	together(t, a)
}

// TestStreamUnderLaterIDs: somebody makes the engine give IDs of the future, and removes the streams afterwards.
func TestStreamUnderLaterIDs(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	for _, st := range a.streams {
		e.Do("XADD", st.key, "18446744073709551615-18446744073709551615", "b", "forged")
	}
	a.awaitMode(t, monitor.Alone)
	b.awaitMode(t, monitor.Alone)
	for _, st := range a.streams {
		e.Do("DEL", st.key)
	}
	together(t, a, b)
	a.reaches(t, b)
}

// TestEpochsOfOthers: somebody who sets the epoch all the time does not have everything read and written all the time.
func TestEpochsOfOthers(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	a.awaitEpoch(t)
	for i := range 5 {
		e.Do("SET", a.config.Keys.Name("epoch"), strings.Repeat("x", i+1))
		sent := a.Status(time.Now()).Sent.Batches
		a.await(t, "two heartbeats", func(s *monitor.Sharing) bool { return s.Sent.Batches >= sent+2 })
	}
	if n := strings.Count(a.log.String(), "the engine has lost"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// awaitEpoch waits until g knows the epoch.
func (g *gateway) awaitEpoch(t *testing.T) {
	t.Helper()
	g.await(t, "an epoch", func(*monitor.Sharing) bool {
		g.Sharing.mu.Lock()
		defer g.Sharing.mu.Unlock()
		return g.presence.epoch != nil
	})
}

// TestOneStreamIsNotShared: a gateway whose denials do not come back counts alone, whatever happens to the other stream.
func TestOneStreamIsNotShared(t *testing.T) {
	t.Parallel()
	e, a, _ := startTwo(t)
	e.Do("XADD", a.streams[share.Denials].key, "18446744073709551615-18446744073709551615", "b", "forged")
	a.guess(1)
	a.awaitMode(t, monitor.Alone)
}

// TestEventsKeepTheirTime: what has happened before the engine was reached for the first time is as old as it is then.
func TestEventsKeepTheirTime(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	e.Kill()
	a := start(t, "a", e.URL())
	a.guess(1)
	a.await(t, "a waiting record", func(*monitor.Sharing) bool { return a.streams[share.Denials].waiting() > 0 })
}

// TestFailedHandOver: what happens while another process fails to take over, the other gateways learn afterwards.
func TestFailedHandOver(t *testing.T) {
	t.Parallel()
	_, a, b := startTwo(t)
	a.stop(ErrHandOver)
	_, events := a.limiter.Export(time.Now())
	defer events.Close()
	if _, err := a.Export(time.Now()); err != nil {
		t.Fatal(err)
	}
	a.guess(1)
	a.login("anna", "198.51.100.7")
	a.Resume()
	a.run(t, a.config.Engine)
	b.await(t, "what happened meanwhile", func(*monitor.Sharing) bool { return b.spent() == 1 && b.knows("anna", "198.51.100.7") })
}

// TestRepairFails: snapshots that could not be read because of the engine are read later.
func TestRepairFails(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a.stop(ErrHandOver)
	a.Sharing.mu.Lock()
	a.reading.gap, a.reading.repaired = true, time.Time{}
	a.Sharing.mu.Unlock()
	if _, err := a.readNext(ctx); err == nil {
		t.Fatal("got no error")
	}
	a.Sharing.mu.Lock()
	defer a.Sharing.mu.Unlock()
	if !a.reading.gap {
		t.Error("the gap is forgotten")
	}
}

// TestForgeriesAreLoggedOnce: somebody who writes to the engine does not fill the log.
func TestForgeriesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	for range 4 {
		sent := a.Status(time.Now()).Sent.Batches
		e.Do("XADD", a.streams[share.Known].key, "*", "b", "\x01forged")
		a.await(t, "the next batch", func(s *monitor.Sharing) bool { return s.Sent.Batches > sent+1 })
	}
	a.await(t, "rejected batches", func(s *monitor.Sharing) bool { return s.Rejected.Batches == 4 })
	if n := strings.Count(a.log.String(), "cannot use what is in the engine"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// TestRemovedBatches: somebody who removes batches all the time does not have all snapshots written all the time.
func TestRemovedBatches(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	manifests := map[string]bool{}
	for range 5 {
		a.lostOwn(time.Now())
		for range 2 {
			sent := a.Status(time.Now()).Sent.Batches
			a.await(t, "the next batch", func(s *monitor.Sharing) bool { return s.Sent.Batches > sent })
		}
		manifests[e.Do("GET", a.config.Keys.ManifestName(share.SnapshotKnown))] = true
	}
	if len(manifests) > 2 {
		t.Errorf("%d snapshots were written", len(manifests))
	}
}

// TestModeOfLimiter: the limiter counts as the mode says, also if batches are lost while that changes.
func TestModeOfLimiter(t *testing.T) {
	t.Parallel()
	_, a, _ := startTwo(t)
	a.stop(ErrHandOver)
	now := time.Now()
	for i := range 5000 {
		a.Sharing.mu.Lock()
		a.reading.awaited, a.presence.receipt = [share.Streams]time.Time{}, now.Add(-time.Duration(i%2)*time.Hour)
		a.Sharing.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { a.decideMode(now) })
		both.Go(func() { a.lostOwn(now) })
		both.Wait()
		if got, want := a.tokens(), 10-5*(i%2); got != want {
			t.Fatalf("run %d: got %d tokens of a source, want %d", i, got, want)
		}
	}
}

// tokens returns how many denials of the guesser g allows.
func (g *gateway) tokens() int {
	for _, b := range g.limiter.Inspect(time.Now(), limiter.Attempt{Addr: guesser}).Buckets {
		if b.Rule == limiter.RuleSource {
			return b.Size
		}
	}
	return 0
}

// TestOldSnapshotOfKnown: somebody who puts back a snapshot of an hour ago, and removes batches, does not make known again whom
// an operator has had forgotten since.
func TestOldSnapshotOfKnown(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	a.await(t, "snapshot", func(*monitor.Sharing) bool {
		a.snapshots.mu.Lock()
		defer a.snapshots.mu.Unlock()
		return !a.snapshots.written[share.SnapshotKnown].at.IsZero()
	})
	a.stop(ErrHandOver)
	former := &gateway{limiter: newLimiter(t)}
	former.login("anna", "198.51.100.7")
	data := former.limiter.Snapshot(time.Now())
	m := share.Manifest{Kind: share.SnapshotKnown, ID: 1, Made: time.Now().Add(-50 * time.Minute), Gateway: "a"}
	sealed, err := a.config.Keys.SealManifest(&m, data)
	if err != nil {
		t.Fatal(err)
	}
	e.Do("SET", a.config.Keys.ChunkName(&m, 0), string(a.config.Keys.SealChunk(&m, 0, data)))
	e.Do("SET", a.config.Keys.ManifestName(share.SnapshotKnown), string(sealed))
	if err := a.repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.knows("anna", "198.51.100.7") {
		t.Error("the user is known again")
	}
}

// TestJoinReadsWhatNoSnapshotHas: a gateway that joins reads what happened since the oldest of the snapshots.
func TestJoinReadsWhatNoSnapshotHas(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	withDecisions := func(_ *gateway, c *Config) {
		c.Snapshots = []Snapshot{{
			Kind: share.SnapshotDecisions, Every: time.Hour,
			Make:  func(time.Time) ([]byte, error) { return []byte("none"), nil },
			Merge: func(time.Time, time.Duration, []byte) error { return nil },
		}}
	}
	a := start(t, "a", e.URL(), withDecisions)
	together(t, a)
	written := func(kind share.SnapshotKind) time.Time {
		a.snapshots.mu.Lock()
		defer a.snapshots.mu.Unlock()
		return a.snapshots.written[kind].at
	}
	a.await(t, "snapshot", func(*monitor.Sharing) bool { return !written(share.SnapshotDecisions).IsZero() })
	a.Publish(time.Now(), share.RecordDecision, []byte("block"))
	for range 2 {
		sent := a.Status(time.Now()).Sent.Batches
		a.await(t, "the next batch", func(s *monitor.Sharing) bool { return s.Sent.Batches > sent && s.ReceiptAge < 1 })
	}
	published := time.Now()
	a.PublishKnown()
	a.await(t, "another snapshot", func(*monitor.Sharing) bool { return written(share.SnapshotKnown).After(published) })
	c := start(t, "c", e.URL(), withDecisions)
	together(t, a, c)
	select {
	case got := <-c.records:
		if string(got) != "block" {
			t.Errorf("got %q", got)
		}
	case <-time.After(patience / 4):
		t.Error("the decision is missing")
	}
}

// TestRemovedBatch: a batch of denials that is lost makes a gateway count alone for no longer than until it has sent another one,
// and it does so soon.
func TestRemovedBatch(t *testing.T) {
	t.Parallel()
	_, a, b := startTwo(t)
	a.Sharing.mu.Lock()
	a.reading.awaited[share.Denials] = time.Now().Add(-time.Hour)
	a.Sharing.mu.Unlock()
	a.await(t, "a batch of denials", func(*monitor.Sharing) bool {
		a.Sharing.mu.Lock()
		defer a.Sharing.mu.Unlock()
		return a.reading.awaited[share.Denials].IsZero()
	})
	together(t, a, b)
}

// TestSentTwice: a batch that has come back is not awaited once more, though it is sent again because the first answer was late.
func TestSentTwice(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	together(t, a)
	a.stop(ErrHandOver)
	ctx, st := t.Context(), a.streams[share.Denials]
	a.guess(1)
	now := time.Now()
	st.mu.Lock()
	st.collect(now)
	batch, ok := st.sender.Next(now, a.Clock(now))
	st.again = true
	st.mu.Unlock()
	if !ok {
		t.Fatal("there is no batch")
	}
	st.await(now, false)
	if _, err := a.config.Engine.Add(ctx, st.key, batch, 100); err != nil {
		t.Fatal(err)
	}
	read := func() time.Time {
		t.Helper()
		for {
			before := a.reading.entries[share.Denials]
			if _, err := a.readNext(ctx); err != nil {
				t.Fatal(err)
			}
			if a.reading.entries[share.Denials] > before {
				return a.reading.awaited[share.Denials]
			}
		}
	}
	if at := read(); !at.IsZero() {
		t.Errorf("a batch that has come back is awaited since %v", at)
	}
	if _, err := st.send(ctx); err != nil {
		t.Fatal(err)
	}
	if at := read(); !at.IsZero() {
		t.Errorf("a batch that has come back is awaited since %v", at)
	}
}

// TestFlushedWhileJoining: what the engine has lost, the others send to a gateway that joins and leads before they are back.
func TestFlushedWhileJoining(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	a.awaitEpoch(t)
	a.login("anna", "198.51.100.7")
	b.await(t, "known user", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
	e.Kill()
	a.awaitMode(t, monitor.Alone)
	b.awaitMode(t, monitor.Alone)
	e.Start()
	c := start(t, "c", e.URL())
	c.await(t, "known user", func(*monitor.Sharing) bool { return c.knows("anna", "198.51.100.7") })
}
