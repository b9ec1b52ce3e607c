//go:build !race

package limiter_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// evaluations are the wrong passwords of attackers that the backend evaluated.
type evaluations struct {
	at   map[string][]time.Time // by account, in order
	seen map[evaluation]bool
}

// An evaluation is one password of one account, tried from one source. Trying it again tells an attacker nothing.
type evaluation struct {
	source          netip.Prefix
	account, secret string
}

func newEvaluations() evaluations {
	return evaluations{map[string][]time.Time{}, map[evaluation]bool{}}
}

// add records that the backend evaluates a at time t.
func (e *evaluations) add(a *attempt, t time.Time) {
	key := evaluation{limiter.Source(a.Addr), a.Account, a.Secret}
	if a.Class != traffic.Attacker || a.Good() || a.Hold > 0 || e.seen[key] {
		return
	}
	e.seen[key] = true
	e.at[a.Account] = append(e.at[a.Account], t)
}

// most returns the largest number of passwords of one account that were evaluated within an hour.
func (e *evaluations) most() (most int) {
	for _, at := range e.at {
		first := 0
		for i, t := range at {
			for t.Sub(at[first]) >= time.Hour {
				first++
			}
			most = max(most, i+1-first)
		}
	}
	return most
}

// describe returns the largest number for one account, and the time in which that was: at most an hour.
func (e *evaluations) describe(lasted time.Duration) string {
	return fmt.Sprintf("%d/%v", e.most(), min(lasted, time.Hour))
}

// probes estimate how many passwords are evaluated by the backend and the limiter together. One of every so many guesses
// of the attackers shows the right password instead, and the backend, if it gets that, answers with a temporary failure,
// so that it leaves no trace. The share of them that the backend gets is the share of all guesses that would have been
// answered otherwise if they had been right.
type probes struct {
	every    int // zero for none
	guesses  int // of attackers, with the probes
	shown    int
	reached  int
	accounts map[string]bool // that were guessed at
}

// choose makes a a probe if it is its turn.
func (p *probes) choose(a *attempt) {
	if p.every == 0 || a.Class != traffic.Attacker {
		return
	}
	if p.accounts == nil {
		p.accounts = map[string]bool{}
	}
	p.accounts[a.Account] = true
	if p.guesses++; p.guesses%p.every == 0 {
		p.shown++
		a.Secret, a.probe = traffic.Secret(a.Account), true
	}
}

// evaluated returns how many guesses were evaluated, and how many for each account on average.
func (p *probes) evaluated() (all, perAccount float64) {
	if p.shown == 0 {
		return 0, 0
	}
	all = float64(p.guesses) * float64(p.reached) / float64(p.shown)
	return all, all / float64(len(p.accounts))
}

// estimateTolerance is how much more than allowed the estimate may be.
const estimateTolerance = 1.5

// requireFewEvaluated fails if more passwords were evaluated, by the backend or the limiter, in an attack that lasted so
// long than the buckets of the accounts allow.
func (r *results) requireFewEvaluated(t *testing.T, lasted time.Duration) {
	t.Helper()
	account := policy().Account
	hour := mostEvaluated(account, looksPerDenial, min(lasted, time.Hour))
	if n := float64(r.evaluations.most()); n > hour {
		t.Errorf("the backend evaluated %.0f passwords of an account in an hour at most, want at most %.0f", n, hour)
	}
	if _, n := r.probes.evaluated(); n > estimateTolerance*mostEvaluated(account, looksPerDenial, lasted) {
		t.Errorf("about %.0f passwords of each account were evaluated, want at most %.0f", n, mostEvaluated(account, looksPerDenial, lasted))
	}
}

// mostEvaluated returns how many passwords may be evaluated in d: the burst and the rate of two buckets, one for denials
// and one with so many times as much for looks.
func mostEvaluated(limit limiter.Rate, looks int, d time.Duration) float64 {
	return float64(limit.Tokens) * (1 + d.Seconds()/limit.Per.Seconds()) * float64(1+looks)
}

// looksPerDenial is how many looks an account has for each denial that its limit allows. A source and a pair have one.
const looksPerDenial = 10
