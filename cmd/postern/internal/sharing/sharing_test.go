package sharing

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/share"
)

var installKey = limiter.Key{1, 2, 3}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// A gateway is one that shares, in a test.
type gateway struct {
	*Sharing
	limiter *limiter.Limiter
	log     *testbed.Log
	records chan []byte // of type RecordDecision, from others
	former  []byte      // exported by another process
	stop    func(error)

	mu      sync.Mutex
	leading bool
}

// start starts a gateway with the engine at url.
func start(t *testing.T, name, url string, change ...func(*gateway, *Config)) *gateway {
	t.Helper()
	l := newLimiter(t)
	client, err := engine.Open(engine.Config{URL: url, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{limiter: l, log: testbed.NewLog(), records: make(chan []byte, 1000)}
	c := Config{
		Gateway: name, Version: "1", Engine: client, Keys: share.NewKeys(installKey), Limiter: l, Log: eventlog.New(io.MultiWriter(g.log, t.Output()), "logfmt", 0),
		Handlers: map[share.RecordType]func(time.Time, []byte) error{
			share.RecordDecision: func(_ time.Time, data []byte) error { g.records <- data; return nil },
		},
		Lead: func(on bool) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.leading = on
		},
		Alone: func(time.Time, bool) {},
		Path:  filepath.Join(t.TempDir(), "gateways.json"),
	}
	for _, f := range change {
		f(g, &c)
	}
	if g.Sharing, err = New(time.Now(), c, g.former); err != nil {
		t.Fatal(err)
	}
	g.run(t, client)
	return g
}

// newLimiter returns the limiter of a gateway.
func newLimiter(t *testing.T) *limiter.Limiter {
	t.Helper()
	l, err := limiter.New(limiter.Policy{
		Source: limiter.Rate{Tokens: 10, Per: 10 * time.Minute}, Pair: limiter.Rate{Tokens: 5, Per: 10 * time.Minute},
		Global: limiter.Rate{Tokens: 200, Per: time.Second}, RepeatTTL: time.Minute, KnownTTL: time.Hour, WaitMax: 10 * time.Second, TableMax: 100_000,
	}, installKey)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run runs the gateway until stop is called, or to the end of the test.
func (g *gateway) run(t *testing.T, client *engine.Client) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.Run(ctx)
	}()
	g.stop = func(cause error) {
		cancel(cause)
		<-ended
	}
	t.Cleanup(func() {
		g.stop(nil)
		client.Close()
	})
}

// await waits until what is reports true.
func (g *gateway) await(t *testing.T, what string, is func(*monitor.Sharing) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is(g.Status(time.Now())) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %+v", what, patience, g.Status(time.Now()))
		}
		<-time.After(10 * time.Millisecond)
	}
}

// startTwo starts an engine and two gateways that count together through it.
func startTwo(t *testing.T) (e *testbed.Engine, a, b *gateway) {
	t.Helper()
	e = testbed.StartEngine(t, testbed.AnyEngine(t))
	a, b = start(t, "a", e.URL()), start(t, "b", e.URL())
	together(t, a, b)
	return e, a, b
}

// together waits until all count together.
func together(t *testing.T, all ...*gateway) {
	t.Helper()
	for _, g := range all {
		g.await(t, "counting together", func(s *monitor.Sharing) bool { return s.Mode == monitor.Shared && len(s.Members) == len(all) })
	}
}

// isLeading reports whether g notifies people.
func (g *gateway) isLeading() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leading
}

func TestGatewaysFindEachOther(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program)
		a, b := start(t, "a", e.URL()), start(t, "b", e.SocketURL())
		together(t, a, b)
		a.Publish(time.Now(), share.RecordDecision, []byte("hello"))
		if got := string(<-b.records); got != "hello" {
			t.Errorf("got %q", got)
		}
		if a.isLeading() == b.isLeading() {
			t.Errorf("leading: a %v, b %v, want one of them", a.isLeading(), b.isLeading())
		}
	})
}

// TestSnapshotsAreReplacedInTime: a snapshot of any kind is due before the engine drops what follows it in its stream.
func TestSnapshotsAreReplacedInTime(t *testing.T) {
	now := time.Now()
	for kind, of := range map[share.SnapshotKind]share.Stream{
		share.SnapshotBuckets: share.Denials, share.SnapshotKnown: share.Known, share.SnapshotDecisions: share.Known,
		share.SnapshotIncidents: share.Known, share.SnapshotWatch: share.Known,
	} {
		w := snapshots{written: map[share.SnapshotKind]*written{kind: {at: now}}}
		for _, n := range []int{lengths[of]/2 - 1, lengths[of] / 2} {
			entries := [share.Streams]int{}
			entries[of] = n
			if got, want := w.isDue(now, Snapshot{Kind: kind, Every: time.Hour}, entries), n == lengths[of]/2; got != want {
				t.Errorf("%s after %d entries: got %v, want %v", kind, n, got, want)
			}
		}
	}
}
