package limiter

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

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
