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
		if s.timeline.now = s.now.Add(time.Second / traffic.Normal); i%1000 == 999 {
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

// gatewayCounts are the numbers of gateways in the rows.
var gatewayCounts = []int{3, 8}

// TestSimulationGateways runs the attacks of TestSimulation against a site of several gateways, which must serve its users
// as one gateway does. `go test -run SimulationGateways -v` prints a table.
func TestSimulationGateways(t *testing.T) {
	t.Parallel()
	all := []scenario{}
	for _, o := range scenarios() {
		if o.times == "30" || o.times == "6.6" {
			continue // much like 10 and 100
		}
		o.duration = min(o.duration, 40*time.Second)
		if o.times == "100" {
			o.duration = 10 * time.Second
		}
		all = append(all, o)
	}
	rows := make([]string, len(all)*len(gatewayCounts))
	t.Cleanup(func() { logTable(t, "gateways\t"+heading, rows) })
	for i, o := range all {
		for j, n := range gatewayCounts {
			t.Run(fmt.Sprintf("%d gateways, %s %s", n, o.name, o.times), func(t *testing.T) {
				t.Parallel()
				s, _ := newSimulationOfSite(t, n, policy(), traffic.New(1, traffic.Normal, attackStart, o.attacks...))
				s.run(attackStart.Add(warmUp))
				r := s.measure(o.duration)
				rows[i*len(gatewayCounts)+j] = fmt.Sprintf("%d\t%s\t%s\t%s", n, o.name, o.times, r.row())
				r.require(t, o.name)
				r.requireFewEvaluated(t, warmUp+o.duration)
			})
		}
	}
}

// TestSimulationGatewaysInformed runs the attacks of people who know the rules, likewise.
func TestSimulationGatewaysInformed(t *testing.T) {
	t.Parallel()
	all := []informedAttack{}
	for _, o := range informedAttacks() {
		if slices.Contains([]string{"stolen 1000×1 330/s", "stolen 300×3 200/s", "shared 2/s", "shared burst", "hangup 60/s", "impatient 540/s", "everyone 35m", "target", "one pair 5/s", "one source 5/s", "spray48 100/s", "fresh48 100/s, watched"}, o.name) {
			all = append(all, o)
		}
	}
	rows := make([]string, len(all)*len(gatewayCounts))
	t.Cleanup(func() { logTable(t, "gateways\t"+informedHeading(), rows) })
	for i, o := range all {
		for j, n := range gatewayCounts {
			t.Run(fmt.Sprintf("%d gateways, %s", n, o.name), func(t *testing.T) {
				t.Parallel()
				r := o.runAt(t, n)
				rows[i*len(gatewayCounts)+j] = fmt.Sprintf("%d\t%s\t%s", n, o.name, r.informedRow(o.duration))
				r.requireKnown(t)
				r.requireFewEvaluated(t, warmUp+o.duration)
				if o.require != nil {
					o.require(t, r)
				}
			})
		}
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
	for k := traffic.Few; k <= traffic.SharedBurst; k++ {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			run := func(share bool) *results {
				g := traffic.New(1, traffic.Normal, attackStart, perSecond(k, 300))
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
				return s.measure(10 * time.Second)
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
