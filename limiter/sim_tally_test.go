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

// A tally is what became of those who came between two times.
type tally struct {
	from, until time.Time // of those who are counted, by their first try
	open        int       // of them, those who do not know yet what becomes of them
	class       map[traffic.Class]*count
	starts      []time.Time // at the backend, of everybody
}

// A count is what became of one class.
type count struct {
	people   int             // who came, and know by now what became of it
	accepted int             // of those, how many were accepted in the end
	tries    int             // attempts
	reached  int             // of those, how many reached the backend
	repeats  int             // of those, how many were answered as repeats
	waits    []time.Duration // from the attempt to the backend
	refusals map[limiter.Rule]int
}

func newTally() *tally {
	y := &tally{class: map[traffic.Class]*count{}}
	for _, c := range traffic.Classes() {
		y.class[c] = &count{refusals: map[limiter.Rule]int{}}
	}
	return y
}

// counts returns where a is counted, nil for those who came too early or too late.
func (y *tally) counts(a *attempt) *count {
	if a.came.Before(y.from) || !a.came.Before(y.until) {
		return nil
	}
	return y.class[a.Class]
}

func (y *tally) arrived(a *attempt) {
	if c := y.counts(a); c != nil {
		c.tries++
		if a.Try == 1 {
			y.open++
		}
	}
}

func (y *tally) reached(a *attempt, t time.Time) {
	y.starts = append(y.starts, t)
	if c := y.counts(a); c != nil {
		c.reached++
		c.waits = append(c.waits, t.Sub(a.At))
	}
}

// ended notes that a ended with o by v, and whether that was its last try.
func (y *tally) ended(a *attempt, o limiter.Outcome, v limiter.Verdict, last bool) {
	c := y.counts(a)
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
		c.people++
		y.open--
	}
	if o == limiter.Accepted {
		c.accepted++
	}
}

// success returns the per cent of those who came that were accepted.
func (c *count) success() float64 {
	return percent(c.accepted, c.people)
}

// passage returns the per cent of the attempts that reached the backend.
func (c *count) passage() float64 {
	return percent(c.reached, c.tries)
}

// wait returns the wait that the given per cent of those who reached the backend did not exceed.
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

// known is those who are known by their address or their credential.
func (y *tally) known() *count {
	a, b := y.class[traffic.Phone], y.class[traffic.Office]
	sum := &count{people: a.people + b.people, accepted: a.accepted + b.accepted, refusals: map[limiter.Rule]int{}}
	sum.waits = slices.Concat(a.waits, b.waits)
	for _, c := range []*count{a, b} {
		for r, n := range c.refusals {
			sum.refusals[r] += n
		}
	}
	return sum
}

// share compares how many of the newcomers' tries reached the backend with how many of the attackers' did. 1 is as many.
func (y *tally) share() float64 {
	return y.class[traffic.Newcomer].passage() / y.class[traffic.Attacker].passage()
}

// busiest returns the most logins that reached the backend within d.
func (y *tally) busiest(d time.Duration) int {
	most, first := 0, 0
	for i, t := range y.starts {
		for t.Sub(y.starts[first]) >= d {
			first++
		}
		most = max(most, i+1-first)
	}
	return most
}

// heading is the first line of a table of tallies.
const heading = "attack\ttimes\tknown %\tp50\tp99\ttraveller %\tp99\tnewcomer %\tp99\tshare\tstale reached %\tattack reached/s\tbackend/s\trefused\t"

// row returns y as one line of the table.
func (y *tally) row() string {
	known, traveller, newcomer := y.known(), y.class[traffic.Traveller], y.class[traffic.Newcomer]
	attacker := y.class[traffic.Attacker]
	seconds := y.until.Sub(y.from).Seconds()
	return fmt.Sprintf("%.2f\t%v\t%v\t%.2f\t%v\t%.1f\t%v\t%.3g\t%.1f\t%.1f\t%d\t%s\t",
		known.success(), short(known.wait(50)), short(known.wait(99)),
		traveller.success(), short(traveller.wait(99)),
		newcomer.success(), short(newcomer.wait(99)), y.share(),
		y.class[traffic.Stale].passage(), float64(attacker.reached)/seconds, y.busiest(time.Second), attacker.rules())
}

// rules says by what attempts were refused, the most frequent rule first.
func (c *count) rules() string {
	var rules []limiter.Rule
	for r := range c.refusals {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b limiter.Rule) int { return c.refusals[b] - c.refusals[a] })
	var words []string
	for _, r := range rules {
		words = append(words, fmt.Sprintf("%s %.0f%%", r, percent(c.refusals[r], c.tries)))
	}
	return strings.Join(words, ", ")
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.2gs", d.Seconds())
}
