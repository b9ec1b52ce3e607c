package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter/share"
)

// loopback is where the clients of these tests come from.
const loopback = "127.0.0.0/8"

// mustDecide makes a decision, with force.
func (g *gateway) mustDecide(t *testing.T, kind decisions.Kind, network string) decisions.Result {
	t.Helper()
	done, err := g.deciding.decide(time.Now(), decisions.Request{Kind: kind, Network: network, By: "anna", Force: true}, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// mustEnd ends a decision.
func (g *gateway) mustEnd(t *testing.T, d decisions.Decision) {
	t.Helper()
	if _, err := g.deciding.end(time.Now(), d.ID, "anna"); err != nil {
		t.Fatal(err)
	}
}

// requireClosed fails unless the gateway closes the connection.
func requireClosed(t *testing.T, c *testbed.Client) {
	t.Helper()
	for {
		_, err := c.ReadLine()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatal("the connection is still open")
		case err != nil:
			return
		}
	}
}

// TestConcurrentDecisions: whatever is made and ended at the same time, the limiter has what the store has.
func TestConcurrentDecisions(t *testing.T) {
	g := start(t, prefix+"STATE_DIR=")
	const operators = 8
	addr := func(round, i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(round), byte(i)}) }
	for round := range 100 {
		begin, running := make(chan struct{}), sync.WaitGroup{}
		for i := range operators {
			running.Go(func() {
				<-begin
				if _, err := g.deciding.decide(time.Now(), decisions.Request{Kind: decisions.Block, Network: addr(round, i).String(), By: "anna"}, netip.Addr{}); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		running.Wait()
		for i := range operators {
			if !g.policy.limiter.Blocked(addr(round, i)) {
				t.Fatalf("round %d: %v is not blocked, though its decision was made", round, addr(round, i))
			}
		}
	}
}

// TestBlockOfWhatIsAllowed closes nothing there, however many networks are allowed.
func TestBlockOfWhatIsAllowed(t *testing.T) {
	g := start(t)
	for i := range closeMax {
		g.mustDecide(t, decisions.Allow, fmt.Sprintf("127.1.%d.%d", i/250, i%250))
	}
	g.mustDecide(t, decisions.Allow, "127.0.0.1")
	client := g.dial(t, "imaps")
	client.Login()
	if done := g.mustDecide(t, decisions.Block, loopback); done.Closed != 0 || len(done.Warning) > 1000 {
		t.Errorf("got %d closed and a warning of %d octets, want none closed and a short warning", done.Closed, len(done.Warning))
	}
	client.Say("b NOOP", "b ")
}

// TestBlockTakesEffectLater: what a block did not close because it was allowed, or because verdicts were only observed, is
// closed when that ends.
func TestBlockTakesEffectLater(t *testing.T) {
	for _, kind := range []decisions.Kind{decisions.Allow, decisions.Observe} {
		for _, byTime := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s by time %v", kind, byTime), func(t *testing.T) {
				g := start(t)
				network := map[decisions.Kind]string{decisions.Allow: "127.0.0.1"}[kind]
				first := g.mustDecide(t, kind, network).Decision
				client := g.dial(t, "imaps")
				client.Login()
				if done, err := g.deciding.decide(time.Now(), decisions.Request{Kind: decisions.Block, Network: loopback, For: "7d", By: "anna", Force: true}, netip.Addr{}); err != nil || done.Closed != 0 {
					t.Fatalf("got %+v, %v, want nothing closed yet", done, err)
				}
				client.Say("b NOOP", "b ")
				if byTime {
					g.deciding.expire(first.Until)
				} else {
					g.mustEnd(t, first)
				}
				requireClosed(t, client)
			})
		}
	}
}

// TestEnforceClosesWhatIsBlocked: so does a decision to enforce.
func TestEnforceClosesWhatIsBlocked(t *testing.T) {
	g := start(t, prefix+"MODE=observe")
	client := g.dial(t, "imaps")
	client.Login()
	g.mustDecide(t, decisions.Block, loopback)
	client.Say("b NOOP", "b ")
	g.mustDecide(t, decisions.Enforce, "")
	requireClosed(t, client)
}

// TestReleaseNamesWhatStillBlocks: wider and narrower networks.
func TestReleaseNamesWhatStillBlocks(t *testing.T) {
	g := start(t)
	wide := g.mustDecide(t, decisions.Block, "2001:db8::/48").Decision
	narrow := g.mustDecide(t, decisions.Block, "2001:db8::7/128").Decision
	exact := g.mustDecide(t, decisions.Block, "2001:db8::/64").Decision
	done, err := g.deciding.release(time.Now(), decisions.Release{Of: "2001:db8::7", By: "anna"})
	if err != nil || len(done.Ended) != 1 || done.Ended[0].ID != exact.ID {
		t.Errorf("got %+v, %v, want decision %s ended", done, err, exact.ID)
	}
	if len(done.Blocked) != 2 || done.Blocked[0].ID != wide.ID || done.Blocked[1].ID != narrow.ID {
		t.Errorf("got %+v, want that %s and %s still block", done.Blocked, wide.ID, narrow.ID)
	}
}

// TestDecisionsOfAnotherGateway are enforced like those of this one, also on connections that are open.
func TestDecisionsOfAnotherGateway(t *testing.T) {
	g, other := start(t), decisions.New("")
	var sent []decisions.Change
	now := func(t time.Time) time.Time { return t }
	g.deciding.share(time.Now(), "gw1", now, func(decisions.Change) {})
	if err := other.Share(time.Now(), "gw2", now, func(c decisions.Change) { sent = append(sent, c) }); err != nil {
		t.Fatal(err)
	}
	decide := func(kind decisions.Kind, network string) decisions.Decision {
		t.Helper()
		done, err := other.Decide(time.Now(), decisions.Request{Kind: kind, Network: network, By: "bo", Force: true}, netip.Addr{}, &decisions.Guard{
			Users: func(time.Time, netip.Prefix, time.Duration) (int, bool) { return 0, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		return done.Decision
	}
	apply := func() {
		g.deciding.apply(time.Now(), sent...)
		sent = nil
	}
	client := g.dial(t, "imaps")
	client.Login()
	allow := decide(decisions.Allow, "127.0.0.1")
	decide(decisions.Block, loopback)
	apply()
	client.Say("b NOOP", "b ")
	if _, _, err := other.End(time.Now(), allow.ID, "cy"); err != nil {
		t.Fatal(err)
	}
	apply()
	requireClosed(t, client)
	g.log.Await(t, "decision made at another gateway", "kind=block", "network="+loopback, "by=bo", "gateway=gw2")
	g.log.Await(t, "decision ended at another gateway", "kind=allow", "network=127.0.0.1/32", "ended_by=cy", "gateway=gw2")
	if list := g.deciding.list(); len(list) != 1 || list[0].Who() != "bo at gw2" || !g.policy.limiter.Blocked(netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("got %+v in force", list)
	}
	snapshot, err := decisions.New("").ExportShared(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g.deciding.merge(time.Now(), snapshot)
	if len(g.deciding.list()) != 1 {
		t.Error("an empty snapshot has ended a decision")
	}
}

// TestDecisionsOfOthersDoNotWait: the goroutine that reads the records of other gateways does not wait until they are enforced.
func TestDecisionsOfOthersDoNotWait(t *testing.T) {
	g := start(t)
	g.deciding.share(time.Now(), "gw1", func(t time.Time) time.Time { return t }, func(decisions.Change) {})
	handle := g.sharedHandlers()[share.RecordDecision]
	g.deciding.enforcing.Lock()
	handled := make(chan error, 1)
	network := netip.MustParsePrefix("203.0.113.0/24")
	go func() {
		now := time.Now().UTC().Truncate(time.Millisecond)
		data, err := json.Marshal(decisions.Change{
			Decision: decisions.Decision{ID: "abcdefghi", Kind: decisions.Block, Network: network, Made: now, By: "anna"}, At: now, Gateway: "gw2",
		})
		if err == nil {
			err = handle(now, data)
		}
		handled <- err
	}()
	select {
	case err := <-handled:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testbed.Patience / 4):
		t.Error("it waits")
	}
	g.deciding.enforcing.Unlock()
	testbed.Await(t, testbed.Patience, "the network to be blocked", func() bool { return g.policy.limiter.Blocked(network.Addr()) })
}
