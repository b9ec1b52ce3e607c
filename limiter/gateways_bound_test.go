package limiter

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A greedy attacker asks at all gateways whenever they may.
func TestGreedyAttackerStaysWithinTheBound(t *testing.T) {
	const answer = 300 * time.Millisecond
	for _, n := range []int{1, 2, 3, 5, 8} {
		for _, delay := range []time.Duration{20 * time.Millisecond, 250 * time.Millisecond, 2 * time.Second} {
			got := greedyAttack(t, n, delay, answer)
			t.Logf("%d gateways, %v late: %d denials in 5s, %d in 10m", n, delay, got[0], got[1])
			for i, most := range []int{10, 20} {
				if got[i] > most+n-1 || got[i] < most-1 {
					t.Errorf("%d gateways, %v late: %d denials, want %d to %d", n, delay, got[i], most-1, most+n-1)
				}
			}
		}
	}
}

// A parcelOfGateway is events on their way to other gateways.
type parcelOfGateway struct {
	from   int
	at     time.Duration
	events []byte
}

// greedyAttack returns how many guesses of one source are denied at n gateways within five seconds and ten minutes, if events
// arrive so late at the others, and are acknowledged then. The attacker need not wait.
func greedyAttack(t *testing.T, n int, late, answer time.Duration) (counts [2]int) {
	type attempt struct {
		k    Ticket
		ends time.Duration
	}
	p := sharedPolicy(10)
	p.WaitMax = 0
	all := newGateways(t, n, p)
	var open []*attempt
	var bus []parcelOfGateway
	denied := 0
	for now := time.Duration(0); now <= 10*time.Minute; now += 20 * time.Millisecond {
		when := start.Add(now)
		if counts[1] = denied; now <= 5*time.Second {
			counts[0] = denied
		}
		for len(bus) > 0 && bus[0].at+late <= now {
			s := bus[0]
			bus = bus[1:]
			for i, g := range all {
				if i == s.from {
					g.Acknowledge(s.events)
				} else if err := g.ApplyShared(start.Add(s.at), s.events); err != nil {
					t.Fatal(err)
				}
			}
		}
		open = slices.DeleteFunc(open, func(a *attempt) bool {
			if a.ends > now {
				return false
			}
			a.k.Settle(when, Denied)
			denied++
			return true
		})
		for i, g := range all {
			if b := g.take(); len(b) > 0 {
				bus = append(bus, parcelOfGateway{i, now, b})
			}
			for {
				a := &attempt{ends: now + answer}
				if a.k = g.Ask(when, Attempt{Addr: host(0)}); a.k.Verdict().Action == Refuse {
					break
				}
				open = append(open, a)
			}
		}
	}
	return counts
}

// Events may be applied in any order.
func TestSharedEventsCommute(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := defaultPolicy()
		p.Global = Rate{}
		h := newHistory(t, seed, p)
		h.l.SetSharing(start, Sharing{Gateways: 3})
		denials, known := h.l.ShareFeeds()
		type dated struct {
			at     time.Time
			events []byte
		}
		var all []dated
		for range 400 {
			h.step(300*time.Millisecond, 20, Denied, Denied, Accepted, Void)
			if b := slices.Concat(denials.Take(math.MaxInt), known.Take(math.MaxInt)); len(b) > 0 {
				all = append(all, dated{h.now, b})
			}
		}
		apply := func() *Limiter {
			l := newLimiter(t, p)
			l.SetSharing(start, Sharing{Gateways: 3})
			for _, d := range all {
				if err := l.ApplyShared(d.at, d.events); err != nil {
					t.Fatal(err)
				}
			}
			return l
		}
		inOrder := apply()
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		requireNear(t, h.now, apply(), inOrder)
	}
}

// requireNear fails unless got and want have the same repeats, sprayed passwords and known accounts at now, and buckets
// that differ by no more than the events were late: a bucket may have been full meanwhile.
func requireNear(t *testing.T, now time.Time, got, want *Limiter) {
	t.Helper()
	g, w := got.relative(now), want.relative(now)
	late := bucket(now.Sub(start))
	for k, a := range w {
		b, ok := g[k]
		if a.kind == kindRepeat {
			if a.denials != b.denials || a.looks != b.looks {
				t.Errorf("charged until %v and %v, want %v and %v", b.denials, b.looks, a.denials, a.looks)
			}
			continue
		}
		if a.kind == kindPair { // of which some are cleared
			continue
		}
		if !ok || max(b.denials, a.denials) > min(b.denials, a.denials)+late || max(b.looks, a.looks) > min(b.looks, a.looks)+late {
			t.Errorf("entry\n\t%+v, want\n\t%+v", b, a)
		}
		if a.penaltyUntil != b.penaltyUntil && a.kind == kindSource {
			t.Errorf("penalty %v, want %v", b.penaltyUntil, a.penaltyUntil)
		}
	}
	if g, w := got.Stats(now).Known, want.Stats(now).Known; g != w {
		t.Errorf("%d known accounts, want %d", g, w)
	}
}

// A part of the global bucket that changes again and again gains no tokens, and a small one has a few all the same.
func TestChangingGlobalPartGainsNothing(t *testing.T) {
	p := policy()
	p.Global = Rate{20, time.Second}
	l := newLimiter(t, p)
	passed := 0
	for i := range 101 { // ten seconds, with a tenth of the rate or a fifth
		now := start.Add(time.Duration(i) * 100 * time.Millisecond)
		l.SetSharing(now, Sharing{Gateways: 8, Global: []float64{0.1, 0.2}[i%2]})
		for {
			k := l.Ask(now, Attempt{Addr: host(i)})
			v := k.Enter(now, nil)
			k.Settle(now, Void)
			if v.Action != Pass {
				break
			}
			passed++
		}
	}
	if passed < 36 || passed > 38 {
		t.Errorf("%d attempts got a token, want 8 of the burst and 29 or 30 of ten seconds", passed)
	}
}
