package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Guesses made at the same moment pass as often as there are tokens, and no oftener.
func TestParallelGuessesCannotOutrunABucket(t *testing.T) {
	l := newLimiter(t, policy())
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if k := l.Ask(start, Attempt{Addr: host(0)}); k.Verdict().Action != Refuse {
				passed.Add(1)
				k.Settle(start, Denied)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 10 {
		t.Errorf("%d of 100 passed, want 10", n)
	}
}

// Everyone does everything at once; run with -race. In the end nothing is held and nothing is open.
func TestConcurrentUse(t *testing.T) {
	p := policy()
	p.TableMax = 100
	l := newLimiter(t, p)
	var clock atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(clock.Add(int64(time.Millisecond)))) }
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for range 500 {
				client(l, now, rnd)
			}
		})
	}
	wg.Go(func() {
		for i := range 500 {
			p := p
			p.Source.Tokens, p.TableMax = 5+i%10, 50+i%100
			if err := l.SetPolicy(now(), p); err != nil {
				t.Error(err)
			}
			l.Stats(now())
		}
	})
	wg.Wait()
	f := life{l: l}
	f.checkAllIdle(t, now().Add(24*time.Hour))
}

// client plays one connection with one attempt.
func client(l *Limiter, now func() time.Time, rnd *rand.Rand) {
	addr := anyone(rnd)
	v, _ := l.Connect(now(), addr)
	if v == nil {
		return
	}
	defer v.Leave(now())
	v.Belongs()
	k := l.Ask(now(), Attempt{Addr: addr})
	defer k.Settle(now(), Void) // a second time
	o := []Outcome{Denied, Accepted, Void}[rnd.IntN(3)]
	k.Settle(now(), o)
	if o == Accepted {
		v.LoggedIn(now())
	}
}
