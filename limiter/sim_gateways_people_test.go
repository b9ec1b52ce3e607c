//go:build !race

package limiter_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"postern/limiter"
)

// people behind one address who log in at the same time.
type people struct {
	name    string
	phones  int
	growth  int           // how many others logged in there the day before
	mistype int           // how many of them mistype first
	wrong   int           // how often each of these does
	pause   time.Duration // before they try again
	spread  bool          // over all gateways; otherwise all at one
}

// arrival is how long it took until the given part of people was accepted.
type arrived struct {
	half, all time.Duration
	refusals  int
}

// run returns how people arrive at a site of n gateways. A client that is refused tries again after 15 s.
func (o people) run(t *testing.T, n int, acknowledged time.Duration) (r arrived) {
	p := policy()
	p.Global = limiter.Rate{}
	l := gatewayLink
	l.grace = acknowledged
	s := newSite(t, firstStart, n, p, l)
	for i := range o.growth {
		s.once(s.gateways[i%n], s.attempt(sharedSource, fmt.Sprint("colleague-", i), "right"), limiter.Accepted)
	}
	s.settle()
	s.run(attackStart)
	s.publishEvery(batchTime)
	in := 0
	for i := range o.phones {
		g := s.gateways[0]
		if o.spread {
			g = s.gateways[i%n]
		}
		var try func(wrong int)
		try = func(wrong int) {
			secret, outcome := "right", limiter.Accepted
			if wrong > 0 {
				secret, outcome = fmt.Sprint("mistyped-", wrong), limiter.Denied
			}
			c := client{s, 300 * time.Millisecond, outcome, false, func(served bool, _ time.Duration, _ limiter.Verdict) {
				switch {
				case !served:
					r.refusals++
					s.at(s.now.Add(15*time.Second), func() { try(wrong) })
				case wrong > 0:
					s.at(s.now.Add(o.pause), func() { try(wrong - 1) })
				default:
					if in++; in == (o.phones+1)/2 {
						r.half = s.now.Sub(attackStart)
					}
					r.all = s.now.Sub(attackStart)
				}
			}}
			c.logIn(g, s.attempt(sharedSource, fmt.Sprint("phone-", i), secret))
		}
		if i < o.mistype {
			try(o.wrong)
		} else {
			try(0)
		}
	}
	s.run(attackStart.Add(30 * time.Minute))
	if in != o.phones {
		t.Errorf("%s at %d gateways: %d of %d were accepted", o.name, n, in, o.phones)
	}
	return r
}

// People behind one address who log in at once at a site of several gateways are all accepted soon. The times are printed:
// until half of them, and all of them, are accepted, in seconds, and how often one was refused and tried again after 15 s; by
// the number of gateways, and by how long after its receipt a denial is acknowledged, which is 2 s if nothing else is said.
func TestSimulationGatewaysPeopleBehindOneAddress(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "who\tN=1\tN=2\tN=3\tN=8\tN=3, 0s\tN=8, 0s\t\n")
	for _, o := range []people{
		{name: "ten phones, new address, one gateway", phones: 10},
		{name: "ten phones, new address, all gateways", phones: 10, spread: true},
		{name: "ten phones, two mistype, one gateway", phones: 10, mistype: 2, wrong: 1, pause: 5 * time.Second},
		{name: "twenty phones, new address, one gateway", phones: 20},
		{name: "office of 50, new address, one gateway", phones: 50},
		{name: "office of 50, 50 known there, one gateway", phones: 50, growth: 50},
		{name: "office of 50, 50 known there, five mistype", phones: 50, growth: 50, mistype: 5, wrong: 1, pause: 5 * time.Second},
		{name: "one person mistypes once, tries again after 3s", phones: 1, mistype: 1, wrong: 1, pause: 3 * time.Second},
		{name: "one person mistypes twice, tries again after 3s", phones: 1, mistype: 1, wrong: 2, pause: 3 * time.Second},
		{name: "one person mistypes twice, tries again at once", phones: 1, mistype: 1, wrong: 2},
		{name: "one person mistypes four times, after 3s", phones: 1, mistype: 1, wrong: 4, pause: 3 * time.Second},
	} {
		fmt.Fprint(w, o.name)
		var alone arrived
		for _, c := range []struct {
			gateways     int
			acknowledged time.Duration
		}{{1, 0}, {2, acknowledgedAfter}, {3, acknowledgedAfter}, {8, acknowledgedAfter}, {3, 0}, {8, 0}} {
			r := o.run(t, c.gateways, c.acknowledged)
			if c.gateways == 1 {
				alone = r
			}
			fmt.Fprintf(w, "\t%.1f/%.1f", r.half.Seconds(), r.all.Seconds())
			if r.refusals > 0 {
				fmt.Fprintf(w, " (%d)", r.refusals)
			}
			if most := alone.all + 30*time.Second; r.all > most {
				t.Errorf("%s: the last is accepted after %v at %d gateways, after %v at one", o.name, r.all, c.gateways, alone.all)
			}
		}
		fmt.Fprintln(w, "\t")
	}
	w.Flush()
	t.Log("\n" + table.String())
}
