package sharing

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter/share"
)

// awaitMode waits until g is in a mode.
func (g *gateway) awaitMode(t *testing.T, mode monitor.SharingMode) {
	t.Helper()
	g.await(t, "mode "+string(mode), func(s *monitor.Sharing) bool { return s.Mode == mode })
}

// reaches checks that what a publishes arrives at b.
func (g *gateway) reaches(t *testing.T, b *gateway) {
	t.Helper()
	want := "from " + g.config.Gateway + strconv.FormatInt(time.Now().UnixNano(), 36)
	g.Publish(time.Now(), share.RecordDecision, []byte(want))
	timeout := time.After(patience)
	for {
		select {
		case got := <-b.records:
			if string(got) == want {
				return
			}
		case <-timeout:
			t.Fatalf("nothing from %s within %v: %+v", g.config.Gateway, patience, b.Status(time.Now()))
		}
	}
}

// TestEngineFails: the gateways count alone and each notifies people, with as many gateways as before; afterwards they
// count together again, and what was published meanwhile arrives.
func TestEngineFails(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*testbed.Engine)
		reason     string
	}{
		"killed, restarted empty": {
			(*testbed.Engine).Kill, func(e *testbed.Engine) {
				e.Start()
				addUser(e)
			}, "down",
		},
		"stopped, continued": {(*testbed.Engine).Stop, (*testbed.Engine).Continue, "timeout"},
		"full, then not": {
			func(e *testbed.Engine) { e.Do("CONFIG", "SET", "maxmemory", "1") },
			func(e *testbed.Engine) { e.Do("CONFIG", "SET", "maxmemory", "0") }, "full",
		},
		"read-only, then not": {
			func(e *testbed.Engine) { e.Do("REPLICAOF", "127.0.0.1", "1") },
			func(e *testbed.Engine) { e.Do("REPLICAOF", "NO", "ONE") }, "readonly",
		},
		"denied, then not": {
			func(e *testbed.Engine) { e.Do("ACL", "SETUSER", "gate", "-@all") },
			func(e *testbed.Engine) { e.Do("ACL", "SETUSER", "gate", "+@all") }, "denied",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := testbed.StartEngine(t, testbed.AnyEngine(t))
			addUser(e)
			url := strings.Replace(e.URL(), "://", "://gate@", 1)
			a, b := start(t, "a", url), start(t, "b", url)
			together(t, a, b)
			fault.begin(e)
			for _, g := range []*gateway{a, b} {
				g.awaitMode(t, monitor.Alone)
				if s := g.Status(time.Now()); !g.isLeading() || s.Errors[fault.reason] == 0 || s.GlobalPart != .5 {
					t.Errorf("got leading %v, %+v, want it to lead, errors %s and half of the global bucket", g.isLeading(), s, fault.reason)
				}
			}
			a.Publish(time.Now(), share.RecordDecision, []byte("meanwhile"))
			fault.end(e)
			together(t, a, b)
			if got := string(<-b.records); got != "meanwhile" {
				t.Errorf("got %q", got)
			}
			b.reaches(t, a)
			a.await(t, "one leader", func(*monitor.Sharing) bool { return a.isLeading() != b.isLeading() })
		})
	}
}

// addUser adds the user gate, who may do everything.
func addUser(e *testbed.Engine) { e.Do("ACL", "SETUSER", "gate", "on", "nopass", "~*", "&*", "+@all") }

// TestEngineAbsentAtStart: New and Run do not need it.
func TestEngineAbsentAtStart(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	e.Kill()
	a, b := start(t, "a", e.URL()), start(t, "b", e.URL())
	a.awaitMode(t, monitor.Alone)
	e.Start()
	together(t, a, b)
	a.reaches(t, b)
}

// TestFlushed: what the engine has lost is written again, and nothing else happens.
func TestFlushed(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	a.awaitEpoch(t)
	e.Do("FLUSHALL")
	a.log.Await(t, "the engine has lost what gateways have shared")
	a.reaches(t, b)
	b.reaches(t, a)
	together(t, a, b)
	c := start(t, "c", e.URL())
	together(t, a, b, c)
}

// TestWrongKey: gateways under another key do not become members.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	other := start(t, "other", e.URL(), func(_ *gateway, c *Config) { c.Keys = share.NewKeys([32]byte{9}) })
	together(t, a)
	together(t, other)
}

// TestForgedBatches: what is not sealed under the key is counted, and has no effect.
func TestForgedBatches(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	for _, stream := range a.streams {
		e.Do("XADD", stream.key, "*", "b", "\x01forged")
		e.Do("XADD", stream.key, "*", "other", "field")
	}
	a.await(t, "rejected batches", func(s *monitor.Sharing) bool { return s.Rejected.Batches == 4 })
	a.reaches(t, b)
}

// TestSameName: two gateways with one name are in the warning of the status.
func TestSameName(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL())
	start(t, "a", e.URL())
	a.await(t, "a warning", func(s *monitor.Sharing) bool { return strings.Contains(s.Warning, "two gateways have the name a") })
}

// TestGatewayLeaves: its lease is free at once, and what it has published arrives.
func TestGatewayLeaves(t *testing.T) {
	t.Parallel()
	_, a, b := startTwo(t)
	a.await(t, "a leader", func(*monitor.Sharing) bool { return a.isLeading() || b.isLeading() })
	if b.isLeading() {
		a, b = b, a
	}
	a.Publish(time.Now(), share.RecordDecision, []byte("the last"))
	a.stop(errors.New("the end"))
	if got := string(<-b.records); got != "the last" {
		t.Errorf("got %q", got)
	}
	b.await(t, "the next leader", func(*monitor.Sharing) bool { return b.isLeading() })
}

// TestHandOver: the next process continues where the former one ended, without joining again.
func TestHandOver(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	a.stop(ErrHandOver)
	a.Publish(time.Now(), share.RecordDecision, []byte("before"))
	b.Publish(time.Now(), share.RecordDecision, []byte("meanwhile"))
	state, err := a.Export(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	next := start(t, "a", e.URL(), func(g *gateway, _ *Config) { g.former = state })
	if got := string(<-b.records); got != "before" {
		t.Errorf("got %q", got)
	}
	if got := string(<-next.records); got != "meanwhile" {
		t.Errorf("got %q", got)
	}
	together(t, next, b)
	if s := b.Status(time.Now()); s.Warning != "" {
		t.Errorf("got the warning %q", s.Warning)
	}
}
