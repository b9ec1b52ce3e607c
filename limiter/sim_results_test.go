//go:build !race

package limiter_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// results are what the clients that first tried between two times achieved.
type results struct {
	from, until time.Time // of the first tries that are counted
	pending     int       // counted clients that are not finished
	byClass     map[traffic.Class]*count
	reachedAt   []time.Time // when each attempt of any client reached the backend
	evaluations evaluations
	probes      probes
}

// A count is the results of one class.
type count struct {
	clients  int             // clients that are finished
	accepted int             // of those, accepted
	firstTry int             // of those, at the first try
	tries    int             // attempts
	reached  int             // of those, the ones that reached the backend
	repeats  int             // of those, the ones that were answered as repeats
	waits    []time.Duration // from the attempt to the backend
	refusals map[limiter.Rule]int
}

func newResults() *results {
	r := &results{byClass: map[traffic.Class]*count{}, evaluations: newEvaluations()}
	for _, c := range traffic.Classes() {
		r.byClass[c] = &count{refusals: map[limiter.Rule]int{}}
	}
	return r
}

// counts returns the count of a, or nil if its first try is not counted or it never asks to log in.
func (r *results) counts(a *attempt) *count {
	if a.Idle > 0 || a.firstTry.Before(r.from) || !a.firstTry.Before(r.until) {
		return nil
	}
	return r.byClass[a.Class]
}

func (r *results) arrived(a *attempt) {
	if c := r.counts(a); c != nil {
		c.tries++
		if a.Try == 1 {
			r.pending++
		}
	}
}

func (r *results) reached(a *attempt, t time.Time) {
	r.reachedAt = append(r.reachedAt, t)
	r.evaluations.add(a, t)
	if c := r.counts(a); c != nil {
		c.reached++
		c.waits = append(c.waits, t.Sub(a.At))
	}
}

// ended records that a ended with o by v, and whether that was the last try of its client.
func (r *results) ended(a *attempt, o limiter.Outcome, v limiter.Verdict, last bool) {
	c := r.counts(a)
	if c == nil {
		return
	}
	switch v.Action {
	case limiter.Repeat:
		c.repeats++
	case limiter.Refuse:
		c.refusals[v.Rule]++
	}
	if last {
		c.clients++
		r.pending--
	}
	if o == limiter.Accepted {
		c.accepted++
		if a.Try == 1 {
			c.firstTry++
		}
	}
}

// acceptedPercent returns the percentage of clients that were accepted.
func (c *count) acceptedPercent() float64 {
	return percent(c.accepted, c.clients)
}

// reachedPercent returns the percentage of attempts that reached the backend.
func (c *count) reachedPercent() float64 {
	return percent(c.reached, c.tries)
}

// wait returns the given percentile of the waits of attempts that reached the backend.
func (c *count) wait(p float64) time.Duration {
	if len(c.waits) == 0 {
		return 0
	}
	slices.Sort(c.waits)
	return c.waits[int(math.Ceil(p/100*float64(len(c.waits))))-1]
}

func percent(part, all int) float64 {
	if all == 0 {
		return 100
	}
	return 100 * float64(part) / float64(all)
}

// knownClients returns the count of phones and office users together.
func (r *results) knownClients() *count {
	a, b := r.byClass[traffic.Phone], r.byClass[traffic.Office]
	sum := &count{clients: a.clients + b.clients, accepted: a.accepted + b.accepted, refusals: map[limiter.Rule]int{}}
	sum.firstTry = a.firstTry + b.firstTry
	sum.waits = slices.Concat(a.waits, b.waits)
	for _, c := range []*count{a, b} {
		for r, n := range c.refusals {
			sum.refusals[r] += n
		}
	}
	return sum
}

// fairness returns the percentage of the newcomers' attempts that reached the backend, divided by that of the
// attackers'.
func (r *results) fairness() float64 {
	return r.byClass[traffic.Newcomer].reachedPercent() / r.byClass[traffic.Attacker].reachedPercent()
}

// maxWithin returns the largest number of logins that reached the backend within d.
func (r *results) maxWithin(d time.Duration) int {
	most, first := 0, 0
	for i, t := range r.reachedAt {
		for t.Sub(r.reachedAt[first]) >= d {
			first++
		}
		most = max(most, i+1-first)
	}
	return most
}

// heading is the header of a table of results.
const heading = "attack\ttimes\tknown %\tp50\tp99\ttraveller %\tp99\tnewcomer %\tp99\tshare\tstale reached %\tattack reached/s\tbackend/s\tevaluated\trefused\t"

// row returns r as a row of the table.
func (r *results) row() string {
	known, traveller, newcomer := r.knownClients(), r.byClass[traffic.Traveller], r.byClass[traffic.Newcomer]
	attacker := r.byClass[traffic.Attacker]
	seconds := r.until.Sub(r.from).Seconds()
	return fmt.Sprintf("%.2f\t%v\t%v\t%.2f\t%v\t%.1f\t%v\t%.3g\t%.1f\t%.1f\t%d\t%s\t%s\t",
		known.acceptedPercent(), short(known.wait(50)), short(known.wait(99)),
		traveller.acceptedPercent(), short(traveller.wait(99)),
		newcomer.acceptedPercent(), short(newcomer.wait(99)), r.fairness(),
		r.byClass[traffic.Stale].reachedPercent(), float64(attacker.reached)/seconds, r.maxWithin(time.Second),
		r.evaluations.describe(r.until.Sub(r.from)), attacker.rules())
}

// rules returns the rules that refused attempts, the most frequent first.
func (c *count) rules() string {
	var rules []limiter.Rule
	for r := range c.refusals {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b limiter.Rule) int { return c.refusals[b] - c.refusals[a] })
	var parts []string
	for _, r := range rules {
		parts = append(parts, fmt.Sprintf("%s %.0f%%", r, percent(c.refusals[r], c.tries)))
	}
	return strings.Join(parts, ", ")
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.2gs", d.Seconds())
}
