package sharing

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/share"
)

var guesser = netip.MustParseAddr("203.0.113.9")

// guess has a wrong password of user n denied at g, and returns the verdict.
func (g *gateway) guess(n int) limiter.Verdict {
	now := time.Now()
	account := fmt.Sprintf("user%d", n)
	k := g.limiter.Ask(now, limiter.Attempt{Addr: guesser, Account: account, Credential: g.limiter.Credential(account, []byte("wrong"))})
	k.Settle(now, limiter.Denied)
	return k.Verdict()
}

// login has a login accepted at g.
func (g *gateway) login(account, addr string) {
	now := time.Now()
	k := g.limiter.Ask(now, limiter.Attempt{Addr: netip.MustParseAddr(addr), Account: account, Credential: g.limiter.Credential(account, []byte("right"))})
	k.Settle(now, limiter.Accepted)
}

// knows reports whether g knows the account at that address.
func (g *gateway) knows(account, addr string) bool {
	source, _ := g.limiter.Near(time.Now(), netip.MustParseAddr(addr), account)
	return source
}

// TestDenialsAndUsers: guesses at one gateway count at the others, a user known at one is known at all, also at one that
// joins later, and after a restart.
func TestDenialsAndUsers(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	for i := range 3 {
		a.guess(i)
	}
	a.login("anna", "198.51.100.7")
	b.awaitKnowledge(t)
	start(t, "c", e.URL()).awaitKnowledge(t)
	b.stop(nil)
	start(t, "b", e.URL()).awaitKnowledge(t)
}

// TestAwaitJoined: the wait ends when the gateway knows what the others know, or with its context.
func TestAwaitJoined(t *testing.T) {
	t.Parallel()
	e, a, b := startTwo(t)
	a.login("anna", "198.51.100.7")
	b.await(t, "known user", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
	proxy := testbed.NewFaultProxy(t, e.Addr())
	proxy.Stall()
	c := start(t, "c", proxy.URL())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c.AwaitJoined(over)
	proxy.Resume()
	enough, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.AwaitJoined(enough)
	if !c.knows("anna", "198.51.100.7") {
		t.Error("joined, but does not know a user whom the others know")
	}
}

// awaitKnowledge waits until g knows what TestDenialsAndUsers has done elsewhere.
func (g *gateway) awaitKnowledge(t *testing.T) {
	t.Helper()
	g.await(t, "known user and denials", func(*monitor.Sharing) bool {
		return g.knows("anna", "198.51.100.7") && g.spent() == 3
	})
}

// TestLostInEngine: what the engine has lost before the others have read it reaches them in snapshots.
func TestLostInEngine(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	proxy := testbed.NewFaultProxy(t, e.Addr())
	a, b := start(t, "a", e.URL()), start(t, "b", proxy.URL())
	together(t, a, b)
	proxy.Stall()
	b.awaitMode(t, monitor.Alone)
	a.login("anna", "198.51.100.7")
	a.await(t, "everything sent", func(*monitor.Sharing) bool { return a.streams[share.Known].waiting() == 0 })
	e.Do("XTRIM", a.streams[share.Known].key, "MAXLEN", "0")
	a.login("bert", "198.51.100.8")
	proxy.Resume()
	b.await(t, "bert", func(*monitor.Sharing) bool { return b.knows("bert", "198.51.100.8") })
	b.await(t, "anna", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
}

// TestPublishKnown: users that a gateway has learned from a log are known at the others.
func TestPublishKnown(t *testing.T) {
	t.Parallel()
	_, a, b := startTwo(t)
	learned, err := limiter.New(limiter.Policy{KnownTTL: time.Hour, TableMax: 10}, installKey)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	learned.Learn(now, netip.MustParseAddr("198.51.100.9"), "carl")
	if err := b.limiter.Merge(now, learned.Snapshot(now)); err != nil {
		t.Fatal(err)
	}
	b.PublishKnown()
	a.await(t, "carl", func(*monitor.Sharing) bool { return a.knows("carl", "198.51.100.9") })
}

// TestJoinLargeSite measures how long a gateway needs to know 100,000 accounts. BenchmarkJoin has more.
func TestJoinLargeSite(t *testing.T) {
	t.Parallel()
	t.Logf("100,000 accounts: %v", join(t, 100_000))
}

// join returns how long a new gateway needs to know n accounts of another.
func join(t *testing.T, n int) time.Duration {
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	a := start(t, "a", e.URL(), func(g *gateway, c *Config) {
		policy := limiter.Policy{KnownTTL: time.Hour, TableMax: n + 10}
		g.limiter, _ = limiter.New(policy, installKey)
		c.Limiter = g.limiter
		for i := range n {
			g.limiter.Learn(time.Now(), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprintf("user%d", i))
		}
	})
	together(t, a)
	a.await(t, "snapshot", func(*monitor.Sharing) bool {
		a.snapshots.mu.Lock()
		defer a.snapshots.mu.Unlock()
		return !a.snapshots.written[share.SnapshotKnown].at.IsZero()
	})
	begin := time.Now()
	b := start(t, "b", e.URL(), func(g *gateway, c *Config) {
		g.limiter, _ = limiter.New(limiter.Policy{KnownTTL: time.Hour, TableMax: n + 10}, installKey)
		c.Limiter = g.limiter
	})
	b.await(t, "all known", func(*monitor.Sharing) bool { return b.limiter.Stats(time.Now()).Known == n })
	return time.Since(begin)
}

// spent returns how many denials of the guesser g has counted.
func (g *gateway) spent() int {
	for _, b := range g.limiter.Inspect(time.Now(), limiter.Attempt{Addr: guesser}).Buckets {
		if b.Rule == limiter.RuleSource {
			return b.Spent
		}
	}
	return 0
}
