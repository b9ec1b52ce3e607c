package limiter

import (
	"math/rand/v2"
	"testing"
	"time"
)

// newGlobalBucket returns a full globalBucket of rate r, and its limit.
func newGlobalBucket(r Rate) (*globalBucket, *limit) {
	b, limit := new(globalBucket), r.limit(RuleGlobal)
	b.setLimit(0, &limit)
	return b, &limit
}

func TestGlobalBucketDue(t *testing.T) {
	g, _ := newGlobalBucket(Rate{4, 4 * time.Second})
	for i, c := range []struct {
		at   string
		keep int
		due  time.Duration
	}{{"0s", 0, 0}, {"0s", 0, 0}, {"0s", 1, 0}, {"0s", 1, time.Second}, {"500ms", 0, 0}, {"500ms", 3, 3500 * time.Millisecond}} {
		due := g.due(now(c.at), c.keep)
		if due != c.due {
			t.Errorf("step %d: due in %v, want %v", i, due, c.due)
		}
		if due == 0 && !g.spend(now(c.at), c.keep) {
			t.Errorf("step %d: due, but not allowed", i)
		}
	}
}

// The global bucket gives out tokens at the same times as a bucket of the table, to a nanosecond.
func TestGlobalBucketAgreesWithBucket(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		g, r := newGlobalBucket(Rate{1 + rnd.IntN(1000), time.Duration(1 + rnd.Int64N(int64(time.Hour)))})
		var b bucket
		now := now("0s")
		for i := range 5000 {
			now = now.add(time.Duration(rnd.Int64N(2 * int64(r.token))))
			keep := rnd.IntN(r.tokens)
			missing := r.tokens - 1 - keep // as many as may be missing
			want := max(now.until(ticks(b))-time.Duration(missing)*r.token, 0)
			due := g.due(now, keep)
			if diff := due - want; diff < -1 || diff > 1 {
				t.Fatalf("seed %d, step %d: due in %v beside %d, want %v", seed, i, due, keep, want)
			}
			now = now.add(max(due, want) + 1) // late enough for both
			if got := g.due(now, keep); got != 0 {
				t.Fatalf("seed %d, step %d: due in %v when it should be there", seed, i, got)
			}
			if b.spend(now, r); !g.spend(now, keep) {
				t.Fatalf("seed %d, step %d: due, but not allowed", seed, i)
			}
		}
	}
}

// A clock that steps back must not refill the same time twice.
func TestGlobalBucketNeverGoesBack(t *testing.T) {
	p := defaultPolicy()
	p.Global, p.WaitMax = Rate{2, 20 * time.Second}, time.Second
	runScript(t, p, `
		10s  ask a 192.0.2.1 a  = pass none
		10s  enter a            = pass none
		1s   ask b 192.0.3.1 b  = pass none
		1s   enter b            = pass none
		10s  ask c 192.0.4.1 c  = pass none
		10s  enter c            = refuse global   # nothing has refilled since 10s
		19s  ask d 192.0.5.1 d  = pass none
		20s  enter d            = pass none
	`)
}

// Under another limit the global bucket keeps the time it needs to refill, as those of the table do.
func TestSetPolicyGlobalKeepsRefillTime(t *testing.T) {
	p := defaultPolicy()
	p.Global = Rate{}
	l := newLimiter(t, p)
	logins := func(n int) {
		for range n {
			k := l.Ask(start, Attempt{Addr: host(0)})
			if v := k.Enter(start, nil); v != pass {
				t.Errorf("got %v, want pass", v)
			}
			k.Settle(start, Void)
		}
	}
	logins(30) // not counted
	for i, c := range []struct {
		at     string
		global Rate
		logins int // after the change
		left   float64
	}{
		{"0s", Rate{10, 10 * time.Minute}, 3, 7}, // full when switched on
		{"0s", Rate{20, 20 * time.Minute}, 0, 17},
		{"0s", Rate{10, 10 * time.Minute}, 0, 7},
		{"0s", Rate{10, time.Hour}, 0, 9.5}, // three minutes, and a token takes six
		{"0s", Rate{}, 0, 0},
		{"0s", Rate{10, time.Hour}, 0, 9.5},
		{"0s", Rate{2, 10 * time.Second}, 0, 0}, // six minutes, more than it takes
		{"0s", Rate{100, time.Second}, 0, 0},
		{"10ms", Rate{100, time.Second}, 0, 1},
	} {
		p.Global = c.global
		if err := l.SetPolicy(at(c.at), p); err != nil {
			t.Fatal(err)
		}
		logins(c.logins)
		if got := l.Stats(at(c.at)).GlobalTokens; got != c.left {
			t.Errorf("step %d: %v: got %v tokens left, want %v", i, c.global, got, c.left)
		}
	}
}
