//go:build !race

package limiter_test

import (
	"fmt"
	"net/netip"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// looks returns how many passwords l has compared with what it knows where its rules would have refused the attempt. It
// is nil if l has no such counter.
var looks func(l *limiter.Limiter) int

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
