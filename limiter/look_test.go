package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// After the denials of the pair, an attacker goes on guessing. As many guesses as the pair allows are looked at; then
// the right password is refused as any other, so the attacker does not learn that it is the right one.
func TestRefusedGuessesAreLookedAtUpToALimit(t *testing.T) {
	for looked := range 8 {
		sr := runScript(t, defaultPolicy(), "")
		sr.addKnownUser(t)
		for i := range 5 {
			sr.run(t, fmt.Sprintf(`
				0s  ask a 192.0.2.1 u/denied%d
				0s  denied a
			`, i))
		}
		for i := range looked {
			sr.run(t, fmt.Sprintf(`
				1s  ask a 192.0.2.1 u/guess%d  = refuse pair
				1s  ask a 192.0.2.1 u/guess%d  = refuse pair   # the same again costs nothing
			`, i, i))
		}
		want := "pass none"
		if looked >= 5 {
			want = "refuse pair"
		}
		sr.run(t, "1s  ask b 192.0.2.1 u/x  = "+want)
	}
}

// An attacker who leaves while they wait has seen that the password is not the right one, which need not wait.
func TestLeavingWhileWaitingCostsALook(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
	`)
	for i := range 5 {
		sr.run(t, fmt.Sprintf(`
			1s  ask a 192.0.2.1 u/guess%d  = wait 2s source
			1s  void a
		`, i))
	}
	sr.run(t, `1s  ask b 192.0.2.1 u/x  = wait 2s source`) // the right one waits as well
}

// While an account is closed to strangers, a traveller without a token for a look waits for one, and sources that have
// shown a wrong password leave a quarter of them.
func TestTravellerWaitsForALook(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	guess := func(at string, i int) {
		sr.run(t, fmt.Sprintf(`
			%s  ask a 10.%d.%d.1 u/%d
			%s  denied a
		`, at, i/200, i%200, i, at))
	}
	for i := range 10 {
		guess("0s", i)
	}
	for i := range 99 { // each from a source of its own
		sr.run(t, fmt.Sprintf(`0s  ask a 11.0.%d.1 u/%d  = refuse account`, i, i))
	}
	sr.run(t, `
		0s   ask a 11.0.1.1 u/another  = refuse account   # penalized
		0s   ask b 11.1.0.1 u/x        = pass none
		0s   void b
		0s   ask c 11.2.0.1 u/last     = refuse account
		27s  ask d 11.3.0.1 u/x        = again 9s account # a token is due at 36 s
		36s  again d                   = pass none
		36s  accepted d
	`)
}

// A stranger cannot make the owner a stranger by hitting the fingerprint of their password.
func TestCollidingPasswordIsNotForgotten(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	right := l.Credential("u", []byte("right"))
	k := l.Ask(at("-25h"), Attempt{Addr: host(1), Account: "u", Credential: right})
	k.Settle(at("-25h"), Accepted)
	colliding := right
	colliding[15]++
	k = l.Ask(at("0s"), Attempt{Addr: host(100_000), Account: "u", Credential: colliding})
	if !k.Verdict().Known {
		t.Fatal("the credential does not collide")
	}
	k.Settle(at("0s"), Denied)
	if k = l.Ask(at("1s"), Attempt{Addr: host(100_000), Account: "u", Credential: colliding}); k.Verdict().Action != Repeat {
		t.Errorf("the same credential again: %+v, want a repeat", k.Verdict())
	}
	if k = l.Ask(at("1s"), Attempt{Addr: host(200_000), Account: "u", Credential: right}); !k.Verdict().Known {
		t.Errorf("the owner from a new place: %+v, want known", k.Verdict())
	}
}

// A guess is an attempt whose password was tried: by a backend, or by a look.
type guess struct {
	source, account int
	at              time.Time
}

// However attempts are opened, asked about again, left and settled: in any time no more passwords are tried by backends
// and by looks together than the buckets of denials and of looks allow, of a source, a pair and an account.
func TestTriedPasswordsNeverExceedBothBuckets(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 12))
		p := defaultPolicy()
		p.Network, p.Global, p.RepeatTTL = Rate{}, Rate{}, 0
		p.Source, p.Pair = Rate{1 + rnd.IntN(9), time.Minute}, Rate{1 + rnd.IntN(5), time.Minute}
		p.Account = Rate{1 + rnd.IntN(5), time.Minute}
		l := newLimiter(t, p)
		for i := range 3 {
			k := l.Ask(at("-25h"), Attempt{Addr: host(1000 + 300*i), Account: fmt.Sprint("u", i), Credential: l.Credential(fmt.Sprint("u", i), []byte("right"))})
			k.Settle(at("-25h"), Accepted)
		}
		tried := guesses(l, rnd)
		for what, rate := range map[string]Rate{"source": p.Source.times(2), "pair": p.Pair.times(2), "account": p.Account.times(1 + looksPerDenial)} {
			by := map[[2]int][]time.Time{}
			for _, g := range tried {
				of := map[string][2]int{"source": {g.source}, "pair": {g.source, g.account}, "account": {g.account}}[what]
				by[of] = append(by[of], g.at)
			}
			for of, times := range by {
				if !within(rate, times) {
					t.Errorf("seed %d: %d passwords tried at %s %v, more than %v allows", seed, len(times), what, of, rate)
				}
			}
		}
		if len(tried) < 200 {
			t.Errorf("seed %d: %d passwords tried, want 200: the test does not test enough", seed, len(tried))
		}
	}
}

// guesses lets five sources, each in a network of its own, guess at three accounts for an hour, a new password each
// time. It returns those that were tried: at the time they were settled, or asked about if a look showed that they are
// wrong.
func guesses(l *Limiter, rnd *rand.Rand) (tried []guess) {
	type opened struct {
		ticket *Ticket
		guess  guess
	}
	var open []opened
	now := at("0s")
	for i := range 30_000 {
		now = now.Add(time.Duration(rnd.IntN(240)) * time.Millisecond)
		if rnd.IntN(2) == 0 || len(open) == 0 {
			g := guess{rnd.IntN(5), rnd.IntN(3), now}
			account := fmt.Sprint("u", g.account)
			k := new(Ticket)
			*k = l.Ask(now, Attempt{Addr: host(100_000 + 300*g.source), Account: account, Credential: l.Credential(account, []byte(fmt.Sprint(i)))})
			if v := k.Verdict(); v.Action != Refuse {
				open = append(open, opened{k, g})
			} else if k.looked {
				tried = append(tried, g)
			}
			continue
		}
		n := rnd.IntN(len(open))
		o := open[n]
		if o.ticket.Verdict().Again {
			if v := o.ticket.Again(now); v.Action != Refuse {
				continue
			}
		}
		open = append(open[:n], open[n+1:]...)
		o.guess.at = now
		outcome := []Outcome{Denied, Denied, Void}[rnd.IntN(3)]
		if o.ticket.Verdict().Action == Refuse {
			outcome = Void
		}
		if outcome == Denied || o.ticket.looked {
			tried = append(tried, o.guess)
		}
		o.ticket.Settle(now, outcome)
	}
	return tried
}
