package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// reservePolicy returns a policy with four global tokens, of which two are reserved; one token refills in a second.
func reservePolicy() Policy {
	p := defaultPolicy()
	p.Global, p.KnownShare = Rate{4, 4 * time.Second}, 50
	return p
}

// addKnownUser makes u/x known a day before the start of the script.
func (sr scriptRunner) addKnownUser(t *testing.T) {
	t.Helper()
	sr.run(t, `
		-25h  ask known 198.51.100.1 u/x  = pass none
		-25h  accepted known
	`)
}

func TestStrangersLeaveTheReserve(t *testing.T) {
	sr := runScript(t, reservePolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 192.0.2.1 a       = pass none
		0s  enter a                 = pass none
		0s  ask b 192.0.3.1 b       = pass none
		0s  enter b                 = pass none       # from the reserve, which is not used
		0s  ask c 192.0.4.1 c       = pass none
		0s  enter c                 = wait 1s global  # the reserve is full
		0s  ask k 203.0.113.1 u/x   = pass none       # known by credential
		0s  enter k                 = pass none
		0s  ask l 203.0.113.1 u/x   = pass none
		0s  enter l                 = pass none
		0s  ask m 203.0.113.1 u/x   = pass none
		0s  enter m                 = wait 1s global  # the reserve is empty
		0s  dispatch                =
		1s  dispatch                = m pass          # gets the next token
		2s  dispatch                =
		4s  dispatch                = c pass
	`)
}

func TestNothingIsReservedOnTheFirstDay(t *testing.T) {
	sr := runScript(t, reservePolicy(), `
		-25h  ask a 192.0.2.1 a  = pass none
		-25h  void a
	`)
	sr.run(t, `
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
		1s   enter k                 = wait 1s global   # the known go first without a reserve, too
		2s   dispatch                = k pass
		3s   dispatch                = e pass
	`)
	if s := sr.Stats(at("3s")); s.Learned || s.ReservedTokens != 0 || s.Known != 1 {
		t.Errorf("on the first day: %+v", s)
	}
	if s := sr.Stats(at("25h")); !s.Learned || s.ReservedTokens != 2 {
		t.Errorf("on the second: %+v", s)
	}
}

func TestRefusedAtDeadline(t *testing.T) {
	p := reservePolicy()
	p.Global, p.WaitMax = Rate{1, 2 * time.Second}, 3*time.Second
	sr := runScript(t, p, `
		0s     ask a 192.0.2.1 a  = pass none
		0s     enter a            = pass none
		0s     ask b 192.0.3.1 b  = pass none
		0s     ask c 192.0.4.1 c  = pass none
		1s     enter b            = wait 1s global
		1s     enter c            = refuse global     # would wait for three seconds, and two are left
		1s     ask d 192.0.5.1 d  = pass none
		1s     enter d            = wait 3s global
		1s     ask e 192.0.5.1 e  = pass none
		1500ms void b                                 # client left
		1500ms enter e            = wait 2500ms global
		2s     dispatch           = d pass
		4s     dispatch           = e pass
	`)
	// An attempt that the known overtake may reach its deadline.
	sr.addKnownUser(t)
	sr.run(t, `
		10s  ask f 192.0.2.1 f       = pass none
		10s  enter f                 = pass none
		10s  ask g 192.0.3.1 g       = pass none
		10s  enter g                 = wait 2s global
		11s  ask k 203.0.113.1 u/x   = pass none
		11s  enter k                 = wait 1s global
		12s  dispatch                = k pass
		13s  dispatch                = g refuse
		13s  denied g                                 # let through in observe mode
	`)
	if _, next := sr.Dispatch(at("13s")); !next.IsZero() {
		t.Errorf("got next dispatch at %v, want none: the queue is empty", next)
	}
}

// In observe mode, attempts that would not have reached a backend take no global token.
func TestRefusedTicketsTakeNoGlobalToken(t *testing.T) {
	p := defaultPolicy()
	p.Source = Rate{1, time.Hour}
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
		0s  ask b 192.0.2.1 u/2  = refuse source
		0s  enter b              = refuse source
		0s  ask c 192.0.2.1 u/1  = repeat 10s repeat
		0s  enter c              = repeat 10s repeat
	`)
	if left := sr.Stats(start).GlobalTokens; left != 200 {
		t.Errorf("%v tokens left", left)
	}
}

func TestNextDispatch(t *testing.T) {
	p := reservePolicy()
	p.Global, p.WaitMax = Rate{1, 4 * time.Second}, 5*time.Second
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1 a  = pass none
		0s  ask b 192.0.3.1 b  = pass none
		0s  enter a            = pass none
		1s  enter b            = wait 3s global
	`)
	for _, tc := range []struct{ at, next string }{{"1s", "4s"}, {"2500ms", "4s"}} {
		if decided, next := sr.Dispatch(at(tc.at)); len(decided) > 0 || !next.Equal(at(tc.next)) {
			t.Errorf("at %s: %v, next at %v", tc.at, decided, next)
		}
	}
}

// A source without a penalty need not wait while one with a penalty does.
func TestPenalizedGoLast(t *testing.T) {
	p := defaultPolicy()
	p.Global, p.KnownShare, p.Source, p.Network = Rate{8, 8 * time.Second}, 50, Rate{100, time.Minute}, Rate{1000, time.Minute}
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	for i := range 3 {
		sr.run(t, fmt.Sprintf(`
			-%ds  ask s 192.0.2.1 s/%d
			-%ds  denied s
		`, 90-i, i, 90-i))
	}
	sr.run(t, `
		0s  ask a 192.0.2.1 a  = pass none
		0s  enter a            = pass none
		0s  ask b 192.0.2.1 b  = pass none
		0s  enter b            = pass none
		0s  ask c 192.0.2.1 c  = pass none
		0s  enter c            = pass none
		0s  ask d 192.0.2.1 d  = pass none
		0s  enter d            = wait 1s global   # of eight, four are reserved and one is for the unpenalized
		0s  ask e 192.0.3.1 e  = pass none
		0s  enter e            = pass none
		0s  ask f 192.0.3.1 f  = pass none
		0s  enter f            = wait 1s global
		1s  dispatch           = f pass
		2s  dispatch           =
		3s  dispatch           = d pass
	`)
}

// A client in a loop, or a stolen account, gets its share of the reserved lane; beyond that it queues with strangers.
func TestShareOfReservedLaneIsBounded(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	pair, account := sr.rules.Load().pairUse.tokens, sr.rules.Load().accountUse.tokens
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
			k := sr.Ask(start, sr.attempt(tc.addr(i), "u/x"))
			k.Enter(start, nil)
			if k.Priority().Known() {
				known++
			}
			if !k.Verdict().Known || k.Verdict().Action == Refuse || k.Traits().Overused == k.Priority().Known() {
				t.Errorf("%s: attempt %d: %+v, %+v", tc.name, i, k.Verdict(), k.Traits())
			}
			k.Settle(start, Accepted)
		}
		if known != tc.most {
			t.Errorf("%s: %d of 100 logins in the reserved lane, want %d", tc.name, known, tc.most)
		}
	}
}

// Whenever a stranger passes, a token is left for a known attempt after it.
func TestReserveIsNeverEmptyWhileStrangersPass(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := defaultPolicy()
		p.Global, p.KnownShare = Rate{2 + rnd.IntN(50), time.Second}, 1+rnd.IntN(99)
		p.KnownShare = max(p.KnownShare, 100/p.Global.Tokens+1) // else nothing is reserved
		sr := runScript(t, p, "")
		sr.addKnownUser(t)
		l, now := sr.Limiter, start
		var waiting []*Ticket
		for i := range 2000 {
			now = now.Add(time.Duration(rnd.ExpFloat64() * float64(10*time.Millisecond)))
			passed := false
			if rnd.IntN(5) == 0 {
				k := l.Ask(now, sr.attempt("203.0.113.1", "u/x"))
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
			if left := l.globalQueue.bucket.left(l.epoch.ticks(now)); passed && left < 1 {
				t.Fatalf("seed %d: a stranger passed with %v tokens left, want at least 1", seed, left)
			}
			if n := rnd.IntN(len(waiting) + 1); n < len(waiting) && rnd.IntN(3) == 0 {
				waiting[n].Settle(now, Void)
			}
		}
	}
}

// However many attempts queue, leave and overtake, as many pass as the rate allows.
func TestGlobalRateIsExact(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		p := policy()
		p.Global, p.Source, p.Network = Rate{20, 10 * time.Second}, Rate{}, Rate{}
		l, now, passedTotal := newLimiter(t, p), start, 0
		waiting := map[*Ticket]bool{}
		for range 2000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
			k := new(Ticket)
			*k = l.Ask(now, Attempt{Addr: host(rnd.IntN(1000))})
			switch k.Enter(now, k).Action {
			case Pass:
				passedTotal++
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
					passedTotal++
				}
			}
		}
		if s := l.Stats(now); s.WaitKnown != 0 || s.WaitStrangers != len(waiting) || len(l.globalQueue.deadlines) != len(waiting) {
			t.Errorf("seed %d: got %+v, want %d waiting", seed, s, len(waiting))
		}
		most := 20 + 2*now.Sub(start).Seconds()
		if n := float64(passedTotal); n > most || n < most-3 {
			t.Errorf("seed %d: got %v passed in %v, want about %v", seed, n, now.Sub(start), most)
		}
	}
}

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
