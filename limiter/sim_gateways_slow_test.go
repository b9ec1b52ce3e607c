//go:build !race

package limiter_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A client does what the verdicts say, and is served when a backend has answered.
type client struct {
	*site
	answer  time.Duration // of the backend
	outcome limiter.Outcome
	abandon bool // it leaves the challenge of the backend unanswered instead, for so long
	done    func(served bool, waited time.Duration, v limiter.Verdict)
}

// logIn begins an attempt at g.
func (c client) logIn(g *gateway, a limiter.Attempt) {
	k, began := new(limiter.Ticket), c.now
	*k = g.Ask(c.now, a)
	var act func(v limiter.Verdict)
	check := func() {
		waited := c.now.Sub(began)
		c.at(c.now.Add(c.answer), func() {
			if c.abandon {
				k.Abandon(c.now, c.answer)
			}
			k.Settle(c.now, c.outcome)
			c.done(true, waited, k.Verdict())
		})
	}
	act = func(v limiter.Verdict) {
		switch {
		case v.Action >= limiter.Repeat:
			k.Settle(c.now, limiter.Void)
			c.done(false, c.now.Sub(began), v)
		case v.Again:
			c.at(c.now.Add(v.Wait), func() { act(k.Again(c.now)) })
		case v.Wait > 0:
			c.at(c.now.Add(v.Wait), check)
		default:
			check()
		}
	}
	act(k.Verdict())
}

// A slowAttack keeps as many attempts open at gateway 0 as it lets, at most so many: their answers take long.
type slowAttack struct {
	name    string
	account bool // from everywhere at one account; otherwise from one source at all accounts
	most    int
	answer  time.Duration
	abandon bool
}

// slowAttacks returns attacks with answers that a backend delays, and with challenges that a client leaves unanswered.
func slowAttacks() (all []slowAttack) {
	for _, o := range []struct {
		name    string
		account bool
		most    []int
		answer  time.Duration
		abandon bool
	}{
		{"account, challenges for 10s", true, []int{1, 3, 5, 10}, 10 * time.Second, true},
		{"account, denials after 4s", true, []int{1, 10}, 4 * time.Second, false},
		{"source, challenges for 10s", false, []int{1, 3}, 10 * time.Second, true},
		{"source, denials after 4s", false, []int{1, 10}, 4 * time.Second, false},
	} {
		for _, most := range o.most {
			all = append(all, slowAttack{fmt.Sprint(o.name, ", ", most, " at once"), o.account, most, o.answer, o.abandon})
		}
	}
	return all
}

// start begins the attack.
func (o slowAttack) start(s *site) {
	tried := 0
	var again func()
	again = func() {
		tried++
		a := s.attempt(netip.AddrFrom4([4]byte{100, byte(tried >> 8), byte(tried), 1}), attacked, fmt.Sprint("guess-", tried))
		if !o.account {
			a = s.attempt(sharedSource, fmt.Sprint("guessed-", tried), "guess")
		}
		if o.abandon {
			a.Credential = limiter.Credential{}
		}
		c := client{s, o.answer, limiter.Denied, o.abandon, func(served bool, _ time.Duration, _ limiter.Verdict) {
			after := time.Duration(0)
			if !served {
				after = time.Second
			}
			s.at(s.now.Add(after), again)
		}}
		c.logIn(s.gateways[0], a)
	}
	for range o.most {
		again()
	}
}

// The account and the source that slow attackers use, and others.
const attacked = "attacked@example.org"

var sharedSource = netip.MustParseAddr("198.18.0.1")

// A victim is somebody who logs in while a slow attack lasts, each time as somebody new of the same sort.
type victim struct {
	name    string
	known   bool
	attempt func(s *site, i int) limiter.Attempt
	refused map[limiter.Rule]int
	served  int
	waits   []time.Duration
}

// victims returns one of each sort.
func victims() []*victim {
	elsewhere := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{101, byte(i >> 8), byte(i), 1}) }
	return []*victim{
		{name: "owner at home", known: true, attempt: func(s *site, _ int) limiter.Attempt {
			return s.attempt(homeAddr, attacked, traffic.Secret(attacked))
		}},
		{name: "owner's device elsewhere", known: true, attempt: func(_ *site, i int) limiter.Attempt {
			return limiter.Attempt{Addr: elsewhere(i), Account: attacked, Device: 7, Resumed: true}
		}},
		{name: "owner elsewhere", attempt: func(s *site, i int) limiter.Attempt {
			return s.attempt(elsewhere(i), attacked, traffic.Secret(attacked))
		}},
		{name: "owner elsewhere, new password", attempt: func(s *site, i int) limiter.Attempt {
			return s.attempt(elsewhere(i), attacked, "new")
		}},
		{name: "neighbour, known there", known: true, attempt: func(s *site, _ int) limiter.Attempt {
			return s.attempt(sharedSource, "neighbour", traffic.Secret("neighbour"))
		}},
		{name: "neighbour, new there", attempt: func(s *site, i int) limiter.Attempt {
			return s.attempt(sharedSource, fmt.Sprint("newcomer-", i), "right")
		}},
		{name: "stranger", attempt: func(s *site, i int) limiter.Attempt {
			return s.attempt(elsewhere(i), fmt.Sprint("stranger-", i), "right")
		}},
	}
}

// come lets the victims log in at g for a time from now on, one after the other, each every few seconds.
func (s *site) come(g *gateway, all []*victim, d time.Duration) {
	i := 0
	for end := s.now.Add(d); s.now.Before(end); i++ {
		v := all[i%len(all)]
		c := client{s, 300 * time.Millisecond, limiter.Void, false, func(served bool, waited time.Duration, verdict limiter.Verdict) {
			if v.waits = append(v.waits, waited); served {
				v.served++
			} else {
				v.refused[verdict.Rule]++
			}
		}}
		c.logIn(g, v.attempt(s, i))
		s.run(s.now.Add(1700 * time.Millisecond))
	}
	s.run(s.now.Add(20 * time.Second))
}

// describe returns the part of the attempts of v that were served, and the waits.
func (v *victim) describe() string {
	slices.Sort(v.waits)
	p := func(percent int) time.Duration {
		return v.waits[(len(v.waits)-1)*percent/100].Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("%d%% %v/%v", 100*v.served/len(v.waits), p(50), p(99))
}

// An attacker who keeps attempts open at one gateway hinders nobody but strangers at the same account, or of the same source. What strangers suffer is printed: the part
// that is served there, and their waits (median, 99th percentile).
func TestSimulationGatewaysSlowAnswers(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 1} {
		var table strings.Builder
		w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "attack\twho\tN=1\tN=2\tN=3\tN=8\n")
		for _, o := range slowAttacks() {
			var columns [][]*victim
			for _, n := range []int{1, 2, 3, 8} {
				columns = append(columns, o.run(t, n, min(at, n-1)))
			}
			for i, v := range columns[0] {
				if !o.concerns(v) {
					continue
				}
				fmt.Fprintf(w, "%s\t%s", o.name, v.name)
				for _, column := range columns {
					fmt.Fprintf(w, "\t%s", column[i].describe())
				}
				fmt.Fprintln(w)
			}
		}
		w.Flush()
		t.Logf("at gateway %d:\n%s", at, table.String())
	}
}

// concerns reports whether o may hinder v: a stranger at the same account, or of the same source.
func (o slowAttack) concerns(v *victim) bool {
	return !v.known && v.name != "stranger" && strings.HasPrefix(v.name, "owner") == o.account
}

// run returns what victims at one of n gateways suffer.
func (o slowAttack) run(t *testing.T, n, at int) []*victim {
	p := policy()
	p.Global = limiter.Rate{}
	s := newSite(t, firstStart, n, p, gatewayLink)
	owner := s.attempt(homeAddr, attacked, traffic.Secret(attacked))
	owner.Device = 7
	s.once(s.gateways[0], owner, limiter.Accepted)
	s.once(s.gateways[0], s.attempt(sharedSource, "neighbour", traffic.Secret("neighbour")), limiter.Accepted)
	s.settle()
	s.run(attackStart)
	s.publishEvery(batchTime)
	o.start(s)
	s.run(s.now.Add(time.Minute))
	all := victims()
	for _, v := range all {
		v.refused = map[limiter.Rule]int{}
	}
	s.come(s.gateways[at], all, 5*time.Minute)
	for _, v := range all {
		if !o.concerns(v) && (v.served != len(v.waits) || slices.Max(v.waits) > 0) {
			t.Errorf("%s, %d gateways: %s: %s, refused by %v", o.name, n, v.name, v.describe(), v.refused)
		}
	}
	return all
}
