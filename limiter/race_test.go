package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Of guesses made at the same time, as many pass as there are tokens.
func TestParallelGuessesCannotExceedABucket(t *testing.T) {
	l := newLimiter(t, policy())
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			k := l.Ask(start, Attempt{Addr: host(0)})
			for k.Verdict().Again {
				runtime.Gosched()
				k.Again(start)
			}
			if k.Verdict().Action != Refuse {
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

// randomAddr returns an address of either family, sometimes a mapped or an invalid one.
func randomAddr(rnd *rand.Rand) netip.Addr {
	switch rnd.IntN(8) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom16(host(rnd.IntN(1000)).As16())
	case 2, 3, 4:
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: byte(rnd.IntN(9)), 7: byte(rnd.IntN(99)), 15: 1})
	}
	return host(rnd.IntN(1000))
}

// All methods run concurrently, for the race detector. In the end nothing is held, queued or open.
func TestConcurrentUse(t *testing.T) {
	p := defaultPolicy()
	p.TableMax = 200
	l := newLimiter(t, p)
	var clock atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(clock.Add(int64(time.Millisecond)))) }
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for range 500 {
				client(l, now, rnd)
			}
		})
	}
	wg.Go(func() {
		for i := range 300 {
			p := p
			p.Source.Tokens, p.TableMax = 5+i%10, 100+i%100
			if err := l.SetPolicy(now(), p); err != nil {
				t.Error(err)
			}
			l.Stats(now())
			f := l.Feed()
			l.Inspect(now(), Attempt{Addr: host(i), Account: "u1"})
			f.Close()
			l.Explain(now(), Attempt{Addr: host(i), Account: "u1"}, RuleSource)
			if err := l.Restore(now(), l.Snapshot(now())); err != nil {
				t.Error(err)
			}
			l.Dispatch(now())
		}
	})
	wg.Wait()
	if s := l.Stats(now()); s.WaitKnown != 0 || s.WaitStrangers != 0 || len(l.globalQueue.deadlines) != 0 {
		t.Errorf("%+v after all connections have closed", s)
	}
	h := history{l: l}
	h.checkAllIdle(t, now().Add(24*time.Hour))
}

// client runs one connection with one attempt.
func client(l *Limiter, now func() time.Time, rnd *rand.Rand) {
	addr := randomAddr(rnd)
	v, _ := l.Connect(now(), addr)
	if v == nil {
		return
	}
	defer v.Close(now())
	a := Attempt{Addr: addr, Account: fmt.Sprint("u", rnd.IntN(50))}
	a.Credential = l.Credential(a.Account, []byte{byte(rnd.IntN(3))})
	l.Peek(now(), Attempt{Addr: addr, Account: a.Account})
	k := l.Ask(now(), a)
	defer k.Settle(now(), Void) // a second time
	k.Enter(now(), nil)
	o := []Outcome{Denied, Accepted, Void}[rnd.IntN(3)]
	k.Settle(now(), o)
	if o == Accepted {
		v.LoggedIn(now())
	}
	l.KnownSource(now(), addr)
	l.Inspect(now(), a)
}
