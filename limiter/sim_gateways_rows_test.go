//go:build !race

package limiter_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// gatewayLink is how far the gateways of the simulated sites are from each other. The batches take a little longer than
// that: they are sent every batchTime.
var gatewayLink = link{delay: random(60 * time.Millisecond), grace: acknowledgedAfter}

const (
	batchTime     = 25 * time.Millisecond
	heartbeatTime = time.Second
)

// newSimulationOfSite returns a simulation of n gateways that share, to which clients and attackers come at random. Each
// user has logged in at one of them, a day before.
func newSimulationOfSite(tb testing.TB, n int, p limiter.Policy, g *traffic.Generator) (*simulation, *site) {
	tb.Helper()
	s := newSite(tb, firstStart, n, p, gatewayLink)
	for i, login := range g.KnownLogins() {
		k := s.gateways[i%n].Ask(s.now, limiterAttempt(s.gateways[i%n].Limiter, login))
		k.Settle(s.now, limiter.Accepted)
		if s.now = s.now.Add(time.Second / traffic.Normal); i%1000 == 999 {
			s.settle()
		}
	}
	s.settle()
	s.run(attackStart)
	var limiters []*limiter.Limiter
	for _, g := range s.gateways {
		limiters = append(limiters, g.Limiter)
	}
	sim := newSimulationOf(s.timeline, g, limiters...)
	s.publishEvery(batchTime)
	shares := newGlobalShares(s)
	shares.exchangeEvery(heartbeatTime)
	return sim, s
}

// publishEvery publishes at regular times from now on.
func (s *site) publishEvery(d time.Duration) {
	s.publish()
	s.at(s.now.Add(d), func() { s.publishEvery(d) })
}

// globalShares divide the global bucket among the gateways of a site: half of it equally, the other half by how many ask.
type globalShares struct {
	*site
	entered []uint64  // at the latest exchange
	target  []float64 // of the exchange before
}

func newGlobalShares(s *site) *globalShares {
	h := &globalShares{site: s, entered: make([]uint64, len(s.gateways)), target: make([]float64, len(s.gateways))}
	for i := range h.target {
		h.target[i] = 1 / float64(len(h.target))
	}
	return h
}

// exchangeEvery exchanges heartbeats at regular times from now on. A part shrinks at once and grows one heartbeat later.
func (h *globalShares) exchangeEvery(d time.Duration) {
	h.at(h.now.Add(d), func() {
		asked, sum := make([]float64, len(h.gateways)), 0.
		for i, g := range h.gateways {
			known, strangers := g.Entered()
			asked[i] = float64(known + strangers - h.entered[i])
			h.entered[i] = known + strangers
			sum += asked[i]
		}
		n := float64(len(h.gateways))
		for i, g := range h.gateways {
			part := 1 / n
			if sum > 0 {
				part = 1/(2*n) + asked[i]/(2*sum)
			}
			g.SetSharing(h.now, limiter.Sharing{Gateways: len(h.gateways), Global: min(part, h.target[i])})
			h.target[i] = part
		}
		h.exchangeEvery(d)
	})
}

// TestSimulationGateways runs attacks of TestSimulation against a site of several gateways, which must serve its users as
// one gateway does. `go test -run SimulationGateways -v` prints a table.
func TestSimulationGateways(t *testing.T) {
	t.Parallel()
	all := []struct {
		gateways int
		kind     traffic.Kind
		times    float64
		lasts    time.Duration
	}{{3, traffic.Wide, 1, 20 * time.Second}, {8, traffic.Wide, 10, 15 * time.Second}, {8, traffic.Hop, 10, 5 * time.Second}, {8, traffic.Target, 10, 5 * time.Second}, {3, traffic.Wide, 40, 2 * time.Second}}
	for k := traffic.Few; k <= traffic.Insider; k++ {
		all = append(all, all[0])
		o := &all[len(all)-1]
		o.kind, o.times, o.lasts = k, 10, 10*time.Second
	}
	rows := make([]string, len(all))
	t.Cleanup(func() { logTable(t, "gateways\t"+heading, rows) })
	for i, o := range all {
		t.Run(fmt.Sprintf("%d gateways, %v %v", o.gateways, o.kind, o.times), func(t *testing.T) {
			t.Parallel()
			s, _ := newSimulationOfSite(t, o.gateways, policy(), traffic.New(1, traffic.Normal, attackStart, traffic.Steady(o.kind, warmUp, o.times)))
			s.run(attackStart.Add(warmUp))
			r := s.measure(o.lasts)
			rows[i] = fmt.Sprintf("%d\t%v\t%v\t%s", o.gateways, o.kind, o.times, r.row())
			r.requireOfSite(t, o.kind, o.gateways)
		})
	}
}

// knownWait is how long the known may wait at a site of several gateways: each has a part of the global bucket, which holds
// fewer tokens.
const knownWait = 50 * time.Millisecond

// requireOfSite is require for a site of n gateways.
func (r *results) requireOfSite(t *testing.T, k traffic.Kind, n int) {
	t.Helper()
	if known := r.knownClients(); known.acceptedPercent() < 99.9 || known.wait(99) > knownWait {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.acceptedPercent(), known.wait(99), known.refusals)
	}
	if traveller := r.byClass[traffic.Traveller]; traveller.acceptedPercent() < 99.9 {
		t.Errorf("travellers: %.2f %% accepted, refused by %v", traveller.acceptedPercent(), traveller.refusals)
	}
	if newcomer := r.byClass[traffic.Newcomer]; k != traffic.Wide && newcomer.acceptedPercent() < 95 {
		t.Errorf("newcomers: %.2f %% accepted, refused by %v", newcomer.acceptedPercent(), newcomer.refusals)
	}
	if k == traffic.Wide && r.fairness() < 1 {
		t.Errorf("newcomers get %.2f of their fair share of the common lane, want at least 1", r.fairness())
	}
	if n := r.maxWithin(loginTime); n > backendLogins {
		t.Errorf("%d logins at the backend at once", n)
	}
	account := policy().Account
	if most, want := r.evaluations.most(), mostDenials(account, time.Hour)+n-1; most > want {
		t.Errorf("the backend evaluated %d passwords of an account, want at most %d", most, want)
	}
}

// TestSimulationGatewaysInformed runs attacks of people who know the rules, likewise.
func TestSimulationGatewaysInformed(t *testing.T) {
	t.Parallel()
	all := map[string]informedAttack{}
	for _, o := range informedAttacks() {
		all[o.name] = o
	}
	everyone := all["everyone 35m"]
	everyone.require = func(t *testing.T, r *results) { // each part of the global bucket holds fewer tokens
		r.requireAccepted(t, 95, traffic.Roaming)
		r.requireAccepted(t, 99, traffic.Traveller)
		r.requireAccepted(t, 99.9, traffic.Device)
	}
	all["everyone 35m"] = everyone
	rowsOf := []struct {
		gateways int
		name     string
		lasts    time.Duration
	}{
		{3, "stolen 1000×1 330/s", 20 * time.Second}, {8, "stolen 1000×1 330/s", 20 * time.Second}, {8, "stolen 300×3 200/s", 20 * time.Second},
		{3, "shared 2/s", 10 * time.Minute}, {8, "shared burst", 10 * time.Minute}, {3, "shared 20/s", 2 * time.Minute},
		{3, "hangup 60/s", 30 * time.Second}, {8, "hangup 60/s", 30 * time.Second}, {3, "impatient 540/s", 10 * time.Second},
		{3, "everyone 35m", 10 * time.Minute}, {8, "everyone 35m", 35 * time.Minute}, {3, "target", 10 * time.Second}, {8, "target", 10 * time.Second},
		{3, "one pair 5/s", time.Hour}, {8, "one pair 5/s", 20 * time.Minute}, {3, "one source 5/s", time.Hour}, {8, "one source 5/s", 20 * time.Minute},
		{3, "spray48 100/s", time.Minute}, {3, "fresh48 100/s, watched", 30 * time.Second},
	}
	rows := make([]string, len(rowsOf))
	t.Cleanup(func() { logTable(t, "gateways\t"+informedHeading(), rows) })
	for i, row := range rowsOf {
		o := all[row.name]
		o.duration = row.lasts
		t.Run(fmt.Sprintf("%d gateways, %s", row.gateways, o.name), func(t *testing.T) {
			t.Parallel()
			r := o.runAt(t, row.gateways)
			rows[i] = fmt.Sprintf("%d\t%s\t%s", row.gateways, o.name, r.informedRow(o.duration))
			r.requireKnown(t)
			r.requireFewEvaluated(t, warmUp+o.duration)
			if o.require != nil {
				o.require(t, r)
			}
		})
	}
}

// runAt returns the results of o at a site of n gateways.
func (o informedAttack) runAt(tb testing.TB, n int) *results {
	tb.Helper()
	p, normal := policy(), float64(traffic.Normal)
	if o.small {
		p, normal = smallPolicy(), smallNormal
	}
	p.Attack = o.watch
	g := traffic.New(1, normal, attackStart, o.attack)
	for _, u := range o.added {
		g.Add(u.class, u.rate)
	}
	s, _ := newSimulationOfSite(tb, n, p, g)
	s.tries, s.results.probes.every = o.tries, o.probes
	if o.small {
		s.backend.small()
	}
	s.run(attackStart.Add(warmUp))
	return s.measure(o.duration)
}

// One gateway that is set up to share gives the same verdicts as one that is not.
func TestSimulationGatewaysOneIsAsWithoutSharing(t *testing.T) {
	t.Parallel()
	for _, k := range []traffic.Kind{traffic.Few, traffic.Wide, traffic.Target, traffic.Spray, traffic.Insider, traffic.Stolen, traffic.HangUp, traffic.Spray48, traffic.SharedGuess} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			run := func(share bool) *results {
				g := traffic.New(1, traffic.Normal, attackStart, perSecond(k, 200))
				g.Add(traffic.Roaming, 1)
				g.Add(traffic.Shared, 1)
				l := newLimiter(t)
				acceptAll(l, g.KnownLogins())
				s := newSimulation(l, g, attackStart)
				if share {
					one := &site{timeline: s.timeline, tb: t, link: gatewayLink, rnd: s.rnd, arrival: map[path]time.Time{}}
					one.gateways = []*gateway{{Limiter: l, seen: map[int][streams]uint64{}}}
					one.gateways[0].feeds[denialStream], one.gateways[0].feeds[knownStream] = l.ShareFeeds()
					one.publishEvery(batchTime)
					newGlobalShares(one).exchangeEvery(heartbeatTime)
				}
				s.run(attackStart.Add(warmUp))
				return s.measure(4 * time.Second)
			}
			alone, shared := run(false), run(true)
			if !slices.EqualFunc(alone.reachedAt, shared.reachedAt, time.Time.Equal) {
				t.Errorf("%d logins reach the backend with sharing, %d without, or at other times", len(shared.reachedAt), len(alone.reachedAt))
			}
			for c, want := range alone.byClass {
				if got := shared.byClass[c]; fmt.Sprint(*got) != fmt.Sprint(*want) {
					t.Errorf("%v: %+v with sharing, %+v without", c, *got, *want)
				}
			}
		})
	}
}
