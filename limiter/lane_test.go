package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// lanes4 is a policy with two of four tokens reserved, of which one comes back in a second.
func lanes4() Policy {
	p := site()
	p.Global, p.KnownShare = Rate{4, 4 * time.Second}, 50
	return p
}

// resident makes u/x known to tl a day before the statement begins.
func (tl teller) resident(t *testing.T) {
	t.Helper()
	tl.play(t, `
		-25h  ask resident 198.51.100.1 u/x  = pass none
		-25h  accepted resident
	`)
}

func TestStrangersLeaveTheReserve(t *testing.T) {
	tl := statement(t, lanes4(), "")
	tl.resident(t)
	tl.play(t, `
		0s  ask a 192.0.2.1 a       = pass none
		0s  enter a                 = pass none
		0s  ask b 192.0.3.1 b       = pass none
		0s  enter b                 = pass none       # lent
		0s  ask c 192.0.4.1 c       = pass none
		0s  enter c                 = wait 1s global  # the reserve is whole
		0s  ask k 203.0.113.1 u/x   = pass none       # a traveller
		0s  enter k                 = pass none
		0s  ask l 203.0.113.1 u/x   = pass none
		0s  enter l                 = pass none
		0s  ask m 203.0.113.1 u/x   = pass none
		0s  enter m                 = wait 1s global  # the reserve is used up
		0s  turn                    =
		1s  turn                    = m pass          # and taken back with the next token
		2s  turn                    =
		4s  turn                    = c pass
	`)
}

func TestNothingIsReservedOnTheFirstDay(t *testing.T) {
	tl := statement(t, lanes4(), `
		-25h  ask a 192.0.2.1 a  = pass none
		-25h  void a
	`)
	tl.play(t, `
		0s   ask r 198.51.100.1 u/x  = pass none
		0s   accepted r
		1s   ask a 192.0.2.1 a       = pass none
		1s   enter a                 = pass none
		1s   ask b 192.0.3.1 b       = pass none
		1s   enter b                 = pass none
		1s   ask c 192.0.4.1 c       = pass none
		1s   enter c                 = pass none
		1s   ask d 192.0.5.1 d       = pass none
		1s   enter d                 = pass none
		1s   ask e 192.0.6.1 e       = pass none
		1s   enter e                 = wait 1s global
		1s   ask k 203.0.113.1 u/x   = pass none
		1s   enter k                 = wait 1s global   # the known go first, even so
		2s   turn                    = k pass
		3s   turn                    = e pass
	`)
	if s := tl.Stats(at("3s")); s.Learned || s.ReservedTokens != 0 || s.Known != 1 {
		t.Errorf("on the first day: %+v", s)
	}
	if s := tl.Stats(at("25h")); !s.Learned || s.ReservedTokens != 2 {
		t.Errorf("on the second: %+v", s)
	}
}

func TestTurnsRunOut(t *testing.T) {
	p := lanes4()
	p.Global, p.WaitMax = Rate{1, 2 * time.Second}, 3*time.Second
	tl := statement(t, p, `
		0s     ask a 192.0.2.1 a  = pass none
		0s     enter a            = pass none
		0s     ask b 192.0.3.1 b  = pass none
		0s     ask c 192.0.4.1 c  = pass none
		1s     enter b            = wait 1s global
		1s     enter c            = refuse global     # three seconds more, and two are left
		1s     ask d 192.0.5.1 d  = pass none
		1s     enter d            = wait 3s global
		1s     ask e 192.0.5.1 e  = pass none
		1500ms void b                                 # gone
		1500ms enter e            = wait 2500ms global
		2s     turn               = d pass
		4s     turn               = e pass
	`)
	// Whoever is overtaken by the known may run out of time.
	tl.resident(t)
	tl.play(t, `
		10s  ask f 192.0.2.1 f       = pass none
		10s  enter f                 = pass none
		10s  ask g 192.0.3.1 g       = pass none
		10s  enter g                 = wait 2s global
		11s  ask k 203.0.113.1 u/x   = pass none
		11s  enter k                 = wait 1s global
		12s  turn                    = k pass
		13s  turn                    = g refuse
		13s  denied g                                 # in observe mode it goes on all the same
	`)
	if _, next := tl.Dispatch(at("13s")); !next.IsZero() {
		t.Errorf("nobody waits, and the next turn is at %v", next)
	}
}

// Where verdicts are not enforced, what would not have come to a backend takes no token.
func TestRefusedTicketsTakeNoTurn(t *testing.T) {
	p := site()
	p.Source = Rate{1, time.Hour}
	tl := statement(t, p, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
		0s  ask b 192.0.2.1 u/2  = refuse source
		0s  enter b              = refuse source
		0s  ask c 192.0.2.1 u/1  = repeat 10s repeat
		0s  enter c              = repeat 10s repeat
	`)
	if left := tl.Stats(start).GlobalTokens; left != 200 {
		t.Errorf("%v tokens left", left)
	}
}

func TestNextTurn(t *testing.T) {
	p := lanes4()
	p.Global, p.WaitMax = Rate{1, 4 * time.Second}, 5*time.Second
	tl := statement(t, p, `
		0s  ask a 192.0.2.1 a  = pass none
		0s  ask b 192.0.3.1 b  = pass none
		0s  enter a            = pass none
		1s  enter b            = wait 3s global
	`)
	for _, tc := range []struct{ at, next string }{{"1s", "4s"}, {"2500ms", "4s"}} {
		if decided, next := tl.Dispatch(at(tc.at)); len(decided) > 0 || !next.Equal(at(tc.next)) {
			t.Errorf("at %s: %v, next at %v", tc.at, decided, next)
		}
	}
}

// Whoever comes from nowhere bad does not even wait for those who keep coming.
func TestStainedGoLast(t *testing.T) {
	p := site()
	p.Global, p.KnownShare, p.Source, p.Network = Rate{8, 8 * time.Second}, 50, Rate{100, time.Minute}, Rate{1000, time.Minute}
	tl := statement(t, p, "")
	tl.resident(t)
	for i := range 3 {
		tl.play(t, fmt.Sprintf(`
			-%ds  ask s 192.0.2.1 s/%d
			-%ds  denied s
		`, 90-i, i, 90-i))
	}
	tl.play(t, `
		0s  ask a 192.0.2.1 a  = pass none
		0s  enter a            = pass none
		0s  ask b 192.0.2.1 b  = pass none
		0s  enter b            = pass none
		0s  ask c 192.0.2.1 c  = pass none
		0s  enter c            = pass none
		0s  ask d 192.0.2.1 d  = pass none
		0s  enter d            = wait 1s global   # of eight, four are reserved and one is for those of whom nothing is known
		0s  ask e 192.0.3.1 e  = pass none
		0s  enter e            = pass none
		0s  ask f 192.0.3.1 f  = pass none
		0s  enter f            = wait 1s global
		1s  turn               = f pass
		2s  turn               =
		3s  turn               = d pass
	`)
}

// A program run wild, or a stolen account, spends its share of the reserved lane and goes the way of strangers with the
// rest.
func TestNobodyMaySpendTheLane(t *testing.T) {
	tl := statement(t, site(), "")
	tl.resident(t)
	pair, account := tl.rules.Load().useOfPair.tokens, tl.rules.Load().useOfAccount.tokens
	for _, tc := range []struct {
		name string
		addr func(i int) string
		most int
	}{
		{"one source", func(int) string { return "203.0.113.1" }, pair},
		{"many", func(i int) string { return host(i).String() }, account - pair},
	} {
		known := 0
		for i := range 100 {
			k := tl.Ask(start, tl.attempt(tc.addr(i), "u/x"))
			k.Enter(start, nil)
			if k.Priority().Known() {
				known++
			}
			if !k.Verdict().Known || k.Verdict().Action == Refuse {
				t.Errorf("%s: attempt %d: %+v", tc.name, i, k.Verdict())
			}
			k.Settle(start, Accepted)
		}
		if known != tc.most {
			t.Errorf("%s: %d of 100 logins in the reserved lane, want %d", tc.name, known, tc.most)
		}
	}
}

// However strangers come: whenever one passes, a known one that comes after it passes too.
func TestReserveIsNeverEmptyWhileStrangersPass(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := site()
		p.Global, p.KnownShare = Rate{2 + rnd.IntN(50), time.Second}, 1+rnd.IntN(99)
		p.KnownShare = max(p.KnownShare, 100/p.Global.Tokens+1) // else nothing is reserved
		tl := statement(t, p, "")
		tl.resident(t)
		l, now := tl.Limiter, start
		var waiting []*Ticket
		for i := range 2000 {
			now = now.Add(time.Duration(rnd.ExpFloat64() * float64(10*time.Millisecond)))
			passed := false
			if rnd.IntN(5) == 0 {
				k := l.Ask(now, tl.attempt("203.0.113.1", "u/x"))
				k.Enter(now, &k)
			} else {
				k := new(Ticket)
				*k = l.Ask(now, Attempt{Addr: host(rnd.IntN(5000) * 250), Account: fmt.Sprint("stranger", i)})
				v := k.Enter(now, k)
				passed = v.Action == Pass
				waiting = append(waiting, k)
			}
			decided, _ := l.Dispatch(now)
			for _, d := range decided {
				passed = passed || d.Verdict.Action == Pass && !d.Verdict.Known
			}
			if left := l.globalQueue.bucket.left(l.origin.ticks(now), &l.rules.Load().global); passed && left < 1 {
				t.Fatalf("seed %d: a stranger passed, and %v tokens are left", seed, left)
			}
			if n := rnd.IntN(len(waiting) + 1); n < len(waiting) && rnd.IntN(3) == 0 {
				waiting[n].Settle(now, Void)
			}
		}
	}
}

// However many wait, leave and are overtaken: those that go on are as many as the rate allows, and no fewer.
func TestGlobalIsExact(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		p := policy()
		p.Global, p.Source, p.Network = Rate{20, 10 * time.Second}, Rate{}, Rate{}
		l, now, wentOn := newLimiter(t, p), start, 0
		waiting := map[*Ticket]bool{}
		for range 2000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
			k := new(Ticket)
			*k = l.Ask(now, Attempt{Addr: host(rnd.IntN(1000))})
			switch k.Enter(now, k).Action {
			case Pass:
				wentOn++
			case Wait:
				waiting[k] = true
			}
			for k := range waiting {
				if rnd.IntN(3) == 0 {
					k.Settle(now, Void)
					delete(waiting, k)
				}
				break
			}
			decided, _ := l.Dispatch(now)
			for _, d := range decided {
				if delete(waiting, d.Waiter.(*Ticket)); d.Verdict.Action == Pass {
					wentOn++
				}
			}
		}
		if s := l.Stats(now); s.WaitKnown != 0 || s.WaitStrangers != len(waiting) || len(l.globalQueue.deadlines) != len(waiting) {
			t.Errorf("seed %d: %+v while %d wait", seed, s, len(waiting))
		}
		most := 20 + 2*now.Sub(start).Seconds()
		if n := float64(wentOn); n > most || n < most-3 {
			t.Errorf("seed %d: %v went on in %v, the rate allows %v", seed, n, now.Sub(start), most)
		}
	}
}
