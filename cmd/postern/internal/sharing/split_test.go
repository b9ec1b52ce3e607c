package sharing

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
)

// A switchable is an address that leads to one of several engines.
type switchable string

// to leads to e from now on. Connections to former end.
func (s switchable) to(t *testing.T, e, former *testbed.Engine) {
	t.Helper()
	_ = os.Remove(string(s))
	if err := os.Symlink(e.Socket, string(s)); err != nil {
		t.Fatal(err)
	}
	if former != nil {
		former.Do("CLIENT", "KILL", "TYPE", "normal")
	}
}

// TestTwoPrimaries: while two gateways have an engine each, both go on as if the other were silent. Afterwards each knows
// what the other has learned meanwhile, although one of the engines has lost it.
func TestTwoPrimaries(t *testing.T) {
	t.Parallel()
	first, second := testbed.StartEngine(t, testbed.AnyEngine(t)), testbed.StartEngine(t, testbed.AnyEngine(t))
	address := switchable(filepath.Join(first.Dir, "switch"))
	address.to(t, first, nil)
	a, b := start(t, "a", first.SocketURL()), start(t, "b", "unix://"+string(address))
	together(t, a, b)
	address.to(t, second, first)
	second.AwaitInfo("db0:keys=")
	a.login("anna", "198.51.100.7")
	b.login("bert", "198.51.100.8")
	b.guess(1)
	for _, g := range []*gateway{a, b} {
		g.await(t, "sharing, with one gateway less in sight", func(s *monitor.Sharing) bool {
			return s.Mode == monitor.Shared && s.ReceiptAge < 2 && g.limiter.Stats(time.Now()).Known == 1
		})
	}
	address.to(t, first, second)
	a.await(t, "what b has learned", func(*monitor.Sharing) bool { return a.knows("bert", "198.51.100.8") && a.spent() == 1 })
	b.await(t, "what a has learned", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
	together(t, a, b)
}

// TestSlowEngine: with an engine that answers late, but in time, the gateways count together; with one that is too slow,
// each counts alone.
func TestSlowEngine(t *testing.T) {
	t.Parallel()
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	proxy := testbed.NewFaultProxy(t, e.Addr())
	proxy.Delay(30 * time.Millisecond)
	a, b := start(t, "a", proxy.URL()), start(t, "b", proxy.URL())
	together(t, a, b)
	a.login("anna", "198.51.100.7")
	b.await(t, "known user", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
	proxy.Delay(400 * time.Millisecond)
	for _, g := range []*gateway{a, b} {
		g.awaitMode(t, monitor.Alone)
	}
	proxy.Delay(0)
	together(t, a, b)
	b.reaches(t, a)
}

// TestFailover: Sentinel makes a replica the primary, and the gateways count together there.
func TestFailover(t *testing.T) {
	t.Parallel()
	program := testbed.AnyEngine(t)
	primary := testbed.StartEngine(t, program)
	replica := testbed.StartEngine(t, program, fmt.Sprintf("replicaof 127.0.0.1 %d", primary.Port))
	replica.AwaitInfo("master_link_status:up")
	sentinel := testbed.StartSentinel(t, program, "mail", primary)
	url := sentinel.URL() + "/?master=mail"
	a, b := start(t, "a", url), start(t, "b", url)
	together(t, a, b)
	a.login("anna", "198.51.100.7")
	b.await(t, "known user", func(*monitor.Sharing) bool { return b.knows("anna", "198.51.100.7") })
	primary.Kill()
	replica.AwaitInfo("role:master")
	a.reaches(t, b)
	together(t, a, b)
	c := start(t, "c", url)
	c.await(t, "known user", func(*monitor.Sharing) bool { return c.knows("anna", "198.51.100.7") })
}
