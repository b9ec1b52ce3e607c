package limiter_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
)

// A greedyAttack is an attacker who guesses in parallel at all gateways of a site whenever anything passes.
type greedyAttack struct {
	*site
	kind    guessKind
	answers func(gateway int) time.Duration // how long a backend takes for its answer
	tried   uint64
	denied  []time.Time // when each guess was denied
}

// A guessKind is which bucket limits an attacker: all others are off.
type guessKind struct {
	name  string
	limit limiter.Rate
	set   func(p *limiter.Policy, r limiter.Rate)
	addr  func(i uint64) netip.Addr
}

// guessed is the size of the buckets that limit the greedy attackers.
var guessed = limiter.Rate{Tokens: 10, Per: 10 * time.Minute}

// guessKinds returns one kind for each bucket that refuses.
func guessKinds() []guessKind {
	same := func(uint64) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }
	other := func(i uint64) netip.Addr { return netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}) }
	return []guessKind{
		{"source", guessed, func(p *limiter.Policy, r limiter.Rate) { p.Source = r }, same},
		{"pair", guessed, func(p *limiter.Policy, r limiter.Rate) { p.Pair = r }, same},
		{"account", guessed, func(p *limiter.Policy, r limiter.Rate) { p.Account = r }, other},
		{"prefix", guessed, func(p *limiter.Policy, r limiter.Rate) { p.Network, p.Attack = r, true }, func(i uint64) netip.Addr {
			return netip.AddrFrom4([4]byte{100, 64, byte(i), byte(i >> 8)})
		}},
	}
}

// newGreedyAttack returns an attack on n gateways.
func newGreedyAttack(tb testing.TB, n int, kind guessKind, l link, answers func(gateway int) time.Duration) *greedyAttack {
	p := limiter.Policy{TableMax: 100_000}
	kind.set(&p, kind.limit)
	return &greedyAttack{site: newSite(tb, attackStart, n, p, l), kind: kind, answers: answers}
}

// equal returns the answers of backends that all take d.
func equal(d time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return d }
}

// guess returns another guess.
func (a *greedyAttack) guess() limiter.Attempt {
	a.tried++
	g := limiter.Attempt{Addr: a.kind.addr(a.tried), Account: "u"}
	binary.BigEndian.PutUint64(g.Credential[:], a.tried)
	binary.BigEndian.PutUint32(g.Credential[16:], uint32(a.tried))
	return g
}

// fire guesses at g for as long as that passes.
func (a *greedyAttack) fire(g *gateway) {
	for {
		k := new(limiter.Ticket)
		if *k = g.Ask(a.now, a.guess()); k.Verdict().Action != limiter.Pass {
			k.Settle(a.now, limiter.Void)
			return
		}
		a.at(a.now.Add(a.answers(g.number)), func() {
			k.Settle(a.now, limiter.Denied)
			a.denied = append(a.denied, a.now)
		})
	}
}

// attackFor attacks for a time from now on: in small steps at first, when the buckets are full, then in larger ones.
func (a *greedyAttack) attackFor(d time.Duration) {
	for began, end := a.now, a.now.Add(d); a.now.Before(end); {
		for _, g := range a.gateways {
			a.fire(g)
		}
		a.publish()
		step := 25 * time.Millisecond
		if a.now.Sub(began) > 15*time.Second {
			step = 2 * time.Second
		}
		a.run(a.now.Add(step))
	}
}

// within returns how many guesses were denied within d from the start.
func (a *greedyAttack) within(d time.Duration) (n int) {
	for _, t := range a.denied {
		if t.Sub(attackStart) <= d {
			n++
		}
	}
	return n
}

// most returns the largest number of guesses that were denied within any time d.
func (a *greedyAttack) most(d time.Duration) (most int) {
	first := 0
	for i, t := range a.denied {
		for t.Sub(a.denied[first]) > d {
			first++
		}
		most = max(most, i+1-first)
	}
	return most
}

// mostDenials is how many denials one bucket lets through within d.
func mostDenials(r limiter.Rate, d time.Duration) int {
	return r.Tokens + int(d*time.Duration(r.Tokens)/r.Per)
}

// attackTimes are the times within which denials are counted.
var attackTimes = []time.Duration{5 * time.Second, 10 * time.Minute, time.Hour}

// require fails if more guesses were denied within any of the attackTimes, as far as the attack lasted, than so many
// times what one gateway lets through and a number.
func (a *greedyAttack) require(t *testing.T, times, more int) (counts []int) {
	t.Helper()
	for _, d := range attackTimes {
		counts = append(counts, a.within(d))
		if most, want := a.most(d), times*mostDenials(a.kind.limit, d)+more; most > want {
			t.Errorf("%s, %d gateways: %d guesses were denied within %v, want at most %d", a.kind.name, len(a.gateways), most, d, want)
		}
	}
	return counts
}

// An attacker who guesses at all gateways at once gets what one gateway lets through and one guess for each other one.
func TestGatewaysBoundGreedyAttackers(t *testing.T) {
	for _, kind := range guessKinds() {
		for _, n := range []int{2, 3, 8} {
			a := newGreedyAttack(t, n, kind, link{delay: constant(250 * time.Millisecond), grace: acknowledgedAfter}, equal(300*time.Millisecond))
			a.attackFor(40 * time.Second)
			a.require(t, 1, n-1)
		}
	}
}
