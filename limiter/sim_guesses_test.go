//go:build !race

package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A guess is an attempt whose password was tried: by a backend, or by a look.
type guess struct {
	source, account int
	at              time.Time
}

// However attempts are opened, asked about again, left and settled: in any time no more passwords are tried by backends
// and by looks together than the buckets of denials and of looks allow, of a source, a pair and an account.
func TestSimulationTriedPasswordsNeverExceedBothBuckets(t *testing.T) {
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
