package limiter

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A gatewayRunner runs scripts with the limiter of one of several gateways.
type gatewayRunner struct {
	scriptRunner
	denials, known *Feed
}

// newGateways returns n gateways that count together.
func newGateways(t testing.TB, n int, p Policy) (all []gatewayRunner) {
	t.Helper()
	for range n {
		g := gatewayRunner{scriptRunner: runScript(t, p, "")}
		g.denials, g.known = g.ShareFeeds()
		g.setSharing("0s", Sharing{Gateways: n})
		all = append(all, g)
	}
	return all
}

func (g gatewayRunner) setSharing(when string, s Sharing) {
	g.SetSharing(at(when), s)
}

// take returns all events that g has for others.
func (g gatewayRunner) take() []byte {
	return slices.Concat(g.denials.Take(math.MaxInt), g.known.Take(math.MaxInt))
}

// exchange applies what each gateway did at time now to all others, and acknowledges it.
func exchange(t testing.TB, now string, all ...gatewayRunner) {
	t.Helper()
	for i, from := range all {
		events := from.take()
		from.Acknowledge(events)
		for j, to := range all {
			if i == j {
				continue
			}
			if err := to.ApplyShared(at(now), events); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// shared returns a policy under which only the denials of a source count, so many in so many minutes.
func sharedPolicy(tokens int) Policy {
	p := policy()
	p.Source, p.Network = Rate{tokens, time.Duration(tokens) * time.Minute}, Rate{}
	return p
}

func TestDenialsOfGatewaysAddUp(t *testing.T) {
	all := newGateways(t, 2, sharedPolicy(4))
	a, b := all[0], all[1]
	a.run(t, `
		0s   ask a 192.0.2.1  = pass none
		0s   denied a
	`)
	exchange(t, "0s", a, b)
	b.run(t, `
		1s   ask a 192.0.2.1  = wait 2s source
		1s   denied a
	`)
	exchange(t, "1s", a, b)
	a.run(t, `
		2s   ask b 192.0.2.1  = wait 4s source
		2s   denied b
	`)
	exchange(t, "2s", a, b)
	b.run(t, `
		3s   ask b 192.0.2.1  = wait 8s source
		3s   denied b
		4s   ask c 192.0.2.1  = refuse source
	`)
	exchange(t, "3s", a, b)
	a.run(t, `
		4s   ask c 192.0.2.1  = refuse source
		59s  ask d 192.0.2.1  = refuse source
		60s  ask e 192.0.2.1  = wait 8s source
		60s  void e
	`)
	requireSame(t, at("60s"), a.Limiter, b.Limiter)
}

// A gateway may have its share of the rest unsettled or unacknowledged at a time.
func TestShareOfTheRest(t *testing.T) {
	all := newGateways(t, 3, sharedPolicy(10))
	g := all[0]
	g.run(t, `
		0s   ask a 192.0.2.1  = pass none
		0s   ask b 192.0.2.1  = pass none
		0s   ask c 192.0.2.1  = pass none
		0s   ask d 192.0.2.1  = again 250ms source  # three of ten are under way
		0s   void a
		1s   again d          = pass none
		1s   denied b
		1s   ask e 192.0.2.1  = again 250ms source  # 9 are left: c, d and the denial of b
		1s   denied c
		1s   denied d
		2s   ask f 192.0.2.1  = again 250ms source  # three denials are unacknowledged
	`)
	exchange(t, "2s", all...)
	g.run(t, `
		2s   again f          = wait 8s source      # 7 are left, two may be under way
		2s   ask g 192.0.2.1  = wait 8s source
		2s   ask h 192.0.2.1  = again 250ms source
		2s   denied f
		2s   denied g
		2s   void h
	`)
	exchange(t, "2s", all...)
	all[1].run(t, `
		3s   ask a 192.0.2.1  = wait 10s source     # 5 are left
		3s   ask b 192.0.2.1  = again 250ms source
		3s   denied a
		12s  again b          = again 250ms source
		12.9s again b         = refuse source       # it would have to wait for longer than WaitMax
	`)
	exchange(t, "14s", all...)
	all[2].run(t, `
		14s  ask a 192.0.2.1  = wait 10s source     # 4 are left: still one
		14s  ask b 192.0.2.1  = again 250ms source
		14s  denied a
	`)
	exchange(t, "14s", all...)
	if n := len(g.table.shards[0].own); n != 0 {
		t.Errorf("%d buckets have something unacknowledged after all was acknowledged", n)
	}
}

// What is never acknowledged, because it was lost, counts for ten seconds.
func TestLostDenialsAreNotUnacknowledgedForEver(t *testing.T) {
	g := newGateways(t, 5, sharedPolicy(5))[0]
	g.run(t, `
		0s      ask a 192.0.2.1  = pass none
		0s      denied a
		1s      ask b 192.0.2.1  = again 250ms source
		1s      void b
		9s      ask c 192.0.2.1  = again 250ms source
		9s      void c
		10s     ask d 192.0.2.1  = wait 2s source
		10s     void d
	`)
}

func TestAccountAndPairAndPrefixHaveShares(t *testing.T) {
	for _, tc := range []struct {
		rule  Rule
		other string // an attempt beside that of 192.0.2.1 on u
		set   func(*Policy)
	}{
		{RuleAccount, "198.51.100.1 u", func(p *Policy) { p.Account = Rate{3, time.Hour} }},
		{RulePair, "192.0.2.1 u", func(p *Policy) { p.Pair = Rate{3, time.Hour} }},
		{RulePrefix, "192.0.200.1 v", func(p *Policy) { p.Attack, p.Network = true, Rate{3, time.Hour} }},
	} {
		p := policy()
		p.Source, p.Network = Rate{}, Rate{}
		tc.set(&p)
		g := newGateways(t, 3, p)[0]
		g.run(t, fmt.Sprintf(`
			0s  ask a 192.0.2.1 u       = pass none
			0s  ask b %s                = again 250ms %s
			0s  ask t %[1]s/token
			0s  denied a
			0s  again b                 = again 250ms %[2]s
		`, tc.other, tc.rule))
		g.Acknowledge(g.take())
		if g.run(t, "1s again b"); g.tickets["b"].Verdict().Again {
			t.Errorf("%s: waits in spite of the acknowledgement", tc.rule)
		}
	}
}

// The rules that only delay, tokens and known devices have no share.
func TestNoShareForWhatOnlyDelays(t *testing.T) {
	p := defaultPolicy()
	p.Network = Rate{3, time.Hour}
	p.Source, p.Account = Rate{}, Rate{}
	p.Pair = Rate{3, time.Hour}
	g := newGateways(t, 3, p)[0]
	g.run(t, `
		0s  ask a 192.0.2.1 u/x@d+
		0s  accepted a
		1s  ask b 192.0.3.1 v/x
		1s  ask c 192.0.3.1 w/x              = pass none   # of one network
		1s  ask d 198.51.100.1 u/y@d+        = pass none
		1s  ask e 198.51.100.1 u/z@d+        = pass none   # of one device
		1s  ask f 192.0.2.9 o/token          = pass none
		1s  ask g 192.0.2.9 p/token          = pass none
		1s  ask h 192.0.2.9 p/token          = pass none   # on one account
	`)
}

// Somebody who holds the slots of a gateway with slow answers cannot hinder those who are known: neither at their usual
// place, nor by their credential at a new one.
func TestSlowAnswersDoNotHinderTheKnown(t *testing.T) {
	p := defaultPolicy()
	g := newGateways(t, 3, p)[0]
	g.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  accepted a
		1s  ask s1 198.51.100.1 u/1
		1s  ask s2 198.51.101.1 u/2
		1s  ask s3 198.51.102.1 u/3
		2s  ask s4 198.51.103.1 u/4  = again 250ms account   # a stranger waits
		2s  void s4
		2s  ask b 192.0.2.1 u/x      = pass none
		2s  ask c 203.0.113.1 u/x    = pass none             # from a new place
		2s  enter b                  = pass none
		2s  enter c                  = pass none
		2s  accepted b
		2s  accepted c
	`)
	if holds := g.tickets["b"].held; holds != 0 {
		t.Errorf("a known user at their usual place holds %d tokens", holds)
	}
}

// An attempt that waits for its share has its credential compared, and pays a look for that, once.
func TestWaitingAttemptsPayForTheirLook(t *testing.T) {
	p := defaultPolicy()
	g := newGateways(t, 3, p)[0]
	looks := func() int {
		e, r := g.inside(kindSource, netip.MustParsePrefix("198.51.103.1/32")), g.rules.Load()
		limit := r.lookLimit(kindSource, 1)
		return e.looks.spent(g.epoch.ticks(at("3s")), &limit)
	}
	g.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  accepted a
		1s  ask s1 198.51.100.1 u/1
		1s  ask s2 198.51.101.1 u/2
		1s  ask s3 198.51.102.1 u/3
		2s  ask s4 198.51.103.1 u/4  = again 250ms account
		2s  again s4                 = again 250ms account
		3s  again s4                 = again 250ms account
	`)
	if n := looks(); n != 1 {
		t.Errorf("%d looks are spent, want 1", n)
	}
	g.run(t, `
		3s  void s1
		3s  again s4                 = pass none
		3s  accepted s4
	`)
	if n := looks(); n != 1 {
		t.Errorf("%d looks are spent, want 1", n)
	}
}

// A gateway that cannot reach the others has its part of each bucket of strangers.
func TestAloneLimitsAreDivided(t *testing.T) {
	g := newGateways(t, 3, sharedPolicy(10))[0]
	g.setSharing("0s", Sharing{Gateways: 3, Alone: true})
	g.run(t, `
		0s     ask a 192.0.2.1  = pass none
		0s     ask b 192.0.2.1  = again 250ms source   # a third of three may be held
		0s     denied a
		3s     again b          = pass none            # it has waited for two seconds and a fifth
		3s     denied b
		4s     ask c 192.0.2.1  = wait 4s source
		4s     denied c
		4s     ask d 192.0.2.1  = refuse source
		2m59s  ask e 192.0.2.1  = refuse source
		3m     ask f 192.0.2.1  = wait 4s source       # a token each three minutes
		3m     void f
	`)
	g.setSharing("3m", Sharing{Gateways: 3})
	g.run(t, `
		3m     ask g 192.0.2.1  = pass none            # the three minutes of three denials are over
		3m     void g
	`)
	g.setSharing("3m", Sharing{Gateways: 30, Alone: true})
	g.run(t, `
		3m     ask h 192.0.2.1  = pass none
		3m     denied h
		4m     ask i 192.0.2.1  = refuse source        # at least one token
		32m59s ask j 192.0.2.1  = refuse source
		33m    ask k 192.0.2.1  = pass none
	`)
}

// What was spent before the others were lost remains spent, and buckets keep how full they are.
func TestAloneBeginsWithWhatIsSpent(t *testing.T) {
	all := newGateways(t, 2, sharedPolicy(10))
	g, other := all[0], all[1]
	for range 8 {
		other.run(t, "0s ask a 192.0.2.1")
		other.run(t, "0s denied a")
		exchange(t, "0s", all...)
	}
	g.setSharing("0s", Sharing{Gateways: 2, Alone: true})
	g.run(t, `
		0s     ask a 192.0.2.1  = wait 10s source
		0s     denied a
		0s     ask b 192.0.2.1  = refuse source
		2m     ask c 192.0.2.1  = wait 10s source
		2m     void c
	`)
}

// Near attempts keep their limits while a gateway is alone, and the known notice nothing.
func TestAloneKnownKeepTheirLimits(t *testing.T) {
	p := defaultPolicy()
	p.Pair = Rate{4, 4 * time.Minute}
	g := newGateways(t, 4, p)[0]
	g.setSharing("0s", Sharing{Gateways: 4, Alone: true})
	g.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  accepted a
		1s  ask b 192.0.2.1 u/1  = pass none
		1s  denied b
		2s  ask c 192.0.2.1 u/2  = wait 2s pair
		2s  denied c
		3s  ask d 192.0.2.1 u/3  = wait 4s pair
		3s  denied d
		4s  ask e 192.0.2.1 u/4  = wait 8s pair
		4s  denied e
		5s  ask f 192.0.2.1 u/5  = refuse pair
		6s  ask s 198.51.100.1 v/1  = pass none
		6s  denied s
		7s  ask s 198.51.100.1 v/2  = refuse pair
		8s  ask s 198.51.101.1 u/1  = pass none
		8s  denied s
		9s  ask s 198.51.102.1 u/1  = wait 2s account
		9s  denied s
		9s  ask s 198.51.103.1 u/1  = refuse account
		9s  ask k 198.51.104.1 u/x  = pass none
	`)
}

func TestGlobalPart(t *testing.T) {
	p := policy()
	p.Global, p.KnownShare, p.KnownTTL = Rate{100, time.Second}, 60, 720*time.Hour
	l := newLimiter(t, p)
	for _, tc := range []struct {
		part    float64
		tokens  int
		token   time.Duration
		reserve int
	}{
		{0, 100, 10 * time.Millisecond, 60}, {1, 100, 10 * time.Millisecond, 60}, {2, 100, 10 * time.Millisecond, 60}, {-1, 100, 10 * time.Millisecond, 60},
		{math.NaN(), 100, 10 * time.Millisecond, 60}, {0.5, 50, 20 * time.Millisecond, 30}, {0.001, 8, 10 * time.Second, 4}, {1e-300, 8, 10240 * time.Millisecond, 4},
	} {
		l.SetSharing(start, Sharing{Gateways: 3, Global: tc.part})
		if err := l.SetPolicy(start, p); err != nil { // which keeps it
			t.Fatal(err)
		}
		if r := l.rules.Load(); r.global.tokens != tc.tokens || r.global.token != tc.token || r.reserve != tc.reserve || r.gateways != 3 {
			t.Errorf("part %v: got %+v and a reserve of %d, want %d tokens, one in %v, and %d", tc.part, r.global, r.reserve, tc.tokens, tc.token, tc.reserve)
		}
		if n := l.Stats(start).GlobalTokens; math.Abs(n-float64(tc.tokens)) > 1e-6 {
			t.Errorf("part %v: %v tokens, want a full bucket of %d", tc.part, n, tc.tokens)
		}
	}
	known, strangers := l.Entered()
	if known != 0 || strangers != 0 {
		t.Errorf("got %d, %d", known, strangers)
	}
	sr := scriptRunner{l, map[string]*Ticket{}, map[string]*Connection{}}
	sr.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  enter a
		0s  accepted a
		1s  ask b 192.0.2.1 u/x
		1s  enter b
		1s  ask c 192.0.2.2 v
		1s  enter c
	`)
	if known, strangers = l.Entered(); known != 1 || strangers != 2 {
		t.Errorf("got %d known and %d strangers, want 1 and 2", known, strangers)
	}
}
