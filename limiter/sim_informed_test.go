//go:build !race

package limiter_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// An informedAttack is one row of the table of attackers who know the rules.
type informedAttack struct {
	name     string
	attack   traffic.Attack
	added    []addedUsers
	tries    map[traffic.Class]int // how often clients try, where that is not once
	probes   int                   // one of so many guesses is a probe; zero for none
	small    bool                  // the site and its backend have a tenth of their usual size
	duration time.Duration
	watch    bool // the watch says that the site is under attack
	require  func(t *testing.T, r *results)
}

// addedUsers are users beside those of the usual site, and how often they log in each second.
type addedUsers struct {
	class traffic.Class
	rate  float64
}

// watched returns o while the watch says that the site is under attack.
func (o informedAttack) watched() informedAttack {
	o.name, o.watch = o.name+", watched", true
	return o
}

// perSecond returns an attack with the given attempts a second on a site of the usual size.
func perSecond(k traffic.Kind, rate float64) traffic.Attack {
	return traffic.Steady(k, warmUp, 1+rate/traffic.Normal)
}

// informedAttacks returns all rows.
func informedAttacks() []informedAttack {
	all := append(stolenRows(), sharedRows()...)
	all = append(all, hangUpRows()...)
	all = append(all, everyoneRows()...)
	all = append(all, oneSourceRows()...)
	return append(all, sprayRows()...)
}

// stolenRows are attacks with stolen accounts.
func stolenRows() (all []informedAttack) {
	for _, o := range []struct {
		accounts, networks int
		rate               float64
	}{{1000, 1, 150}, {1000, 1, 200}, {1000, 1, 330}, {1000, 1, 1000}, {500, 1, 160}, {300, 3, 200}} {
		a := perSecond(traffic.Stolen, o.rate)
		a.Accounts, a.Addresses = o.accounts, o.networks
		all = append(all, informedAttack{name: fmt.Sprintf("stolen %d×%d %v/s", o.accounts, o.networks, o.rate), attack: a, duration: 90 * time.Second})
	}
	return all
}

// sharedRows are attacks by one device behind the address of many people.
func sharedRows() (all []informedAttack) {
	behind := []addedUsers{{traffic.Shared, 1}, {traffic.SharedToken, .4}, {traffic.SharedNewcomer, .2}}
	phones := func(t *testing.T, r *results) { r.requireAccepted(t, 99, traffic.Shared) }
	everybody := func(t *testing.T, r *results) {
		phones(t, r)
		r.requireAccepted(t, 90, traffic.SharedToken, traffic.SharedNewcomer)
	}
	return []informedAttack{
		{name: "shared 2/s", attack: perSecond(traffic.SharedGuess, 2), added: behind, duration: 10 * time.Minute, require: everybody},
		{name: "shared 20/s", attack: perSecond(traffic.SharedGuess, 20), added: behind, duration: 10 * time.Minute, require: phones},
		{name: "shared idle", attack: perSecond(traffic.SharedIdle, 1), added: behind, duration: 10 * time.Minute, require: everybody},
		{name: "shared burst", attack: perSecond(traffic.SharedBurst, 1), added: behind, duration: 20 * time.Minute, require: everybody},
	}
}

// hangUpRows are attacks that use the backend or the queues and hang up before a denial.
func hangUpRows() []informedAttack {
	roaming := []addedUsers{{traffic.Roaming, 2}}
	fair := func(t *testing.T, r *results) {
		r.requireAccepted(t, 99, traffic.Roaming)
		if newcomer := r.byClass[traffic.Newcomer]; r.fairness() < 1 && newcomer.acceptedPercent() < 95 {
			t.Errorf("newcomers: %.1f %% accepted, and %.2f of their fair share", newcomer.acceptedPercent(), r.fairness())
		}
	}
	return []informedAttack{
		{name: "hangup 60/s", attack: perSecond(traffic.HangUp, 60), added: roaming, duration: 2 * time.Minute, require: func(t *testing.T, r *results) {
			r.requireAccepted(t, 99, traffic.Roaming)
			r.requireAccepted(t, 95, traffic.Newcomer)
		}},
		{name: "hangup 540/s", attack: perSecond(traffic.HangUp, 540), added: roaming, duration: 2 * time.Minute, require: fair},
		{name: "impatient 540/s", attack: perSecond(traffic.Impatient, 540), added: roaming, duration: time.Minute, require: fair},
	}
}

// everyoneRows are attacks on all accounts, and on one. The long ones are on a site of a tenth of the usual size, with a
// tenth of the attackers: each account is guessed at as often, and each address tries as often.
func everyoneRows() []informedAttack {
	all := traffic.Steady(traffic.Wide, warmUp, 10)
	all.Addresses = 60 * 9 * smallNormal
	mobile := []addedUsers{{traffic.Roaming, .5}, {traffic.Device, .5}}
	patient := map[traffic.Class]int{traffic.Traveller: 3}
	served := func(t *testing.T, r *results) {
		r.requireAccepted(t, 99, traffic.Roaming, traffic.Traveller)
		r.requireAccepted(t, 99.9, traffic.Device)
	}
	short := informedAttack{name: "everyone 35m", attack: all, added: mobile, tries: patient, small: true, probes: 47, duration: 35 * time.Minute, require: served}
	return []informedAttack{
		short, short.watched(),
		{name: "everyone 3h", attack: all, added: mobile, tries: patient, small: true, probes: 47, duration: 3 * time.Hour, require: served},
		{
			name: "target", attack: traffic.Steady(traffic.Target, warmUp, 10), duration: 5 * time.Minute,
			added:   []addedUsers{{traffic.Owner, .2}, {traffic.OwnerDevice, .2}},
			require: func(t *testing.T, r *results) { r.requireAccepted(t, 100, traffic.OwnerDevice) },
		},
		{name: "target, probed", attack: traffic.Steady(traffic.Target, warmUp, 10), probes: 7, duration: 5 * time.Minute},
	}
}

// oneSourceRows are guesses from one address for an hour, as fast as it can connect, that do not wait for answers.
func oneSourceRows() []informedAttack {
	row := func(name string, k traffic.Kind, limit limiter.Rate) informedAttack {
		a := traffic.Steady(k, warmUp, 1+5/smallNormal)
		a.Addresses = 1
		return informedAttack{name: name, attack: a, small: true, probes: 5, duration: time.Hour, require: func(t *testing.T, r *results) {
			if all, _ := r.probes.evaluated(); all > estimateTolerance*mostEvaluated(limit, 1, warmUp+time.Hour) {
				t.Errorf("about %.0f passwords were evaluated, want at most %.0f", all, mostEvaluated(limit, 1, warmUp+time.Hour))
			}
		}}
	}
	return []informedAttack{row("one pair 5/s", traffic.Target, policy().Pair), row("one source 5/s", traffic.Few, policy().Source)}
}

// sprayRows try each account once.
func sprayRows() []informedAttack {
	fresh := informedAttack{name: "fresh48 100/s", attack: perSecond(traffic.Fresh48, 100), added: []addedUsers{{traffic.Nearby, 1}}, duration: 480 * time.Second}
	return []informedAttack{
		{name: "spray48 100/s", attack: perSecond(traffic.Spray48, 100), added: []addedUsers{{traffic.Nearby, 1}}, duration: 480 * time.Second, require: func(t *testing.T, r *results) {
			if reached := r.byClass[traffic.Attacker].reachedPercent(); reached > 10 {
				t.Errorf("%.1f %% of the attempts with one password reach the backend, want at most 10 %%", reached)
			}
		}},
		fresh, fresh.watched(),
	}
}

// run returns the results of o.
func (o informedAttack) run(tb testing.TB) *results {
	tb.Helper()
	p, normal := policy(), float64(traffic.Normal)
	if o.small {
		p, normal = smallPolicy(), smallNormal
	}
	p.Attack = o.watch
	l, g := newLimiterOf(tb, p), traffic.New(1, normal, attackStart, o.attack)
	for _, u := range o.added {
		g.Add(u.class, u.rate)
	}
	acceptAll(l, g.KnownLogins())
	s := newSimulation(l, g, attackStart)
	s.tries, s.results.probes.every = o.tries, o.probes
	if o.small {
		s.backend.small()
	}
	s.run(attackStart.Add(warmUp))
	return s.measure(o.duration)
}

// TestSimulationInformedAttackers runs the attacks of people who have read the rules, with the default limits.
// `go test -run SimulationInformed -v` prints a table.
func TestSimulationInformedAttackers(t *testing.T) {
	t.Parallel()
	all := informedAttacks()
	rows := make([]string, len(all))
	t.Cleanup(func() { logTable(t, informedHeading(), rows) })
	for i, o := range all {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			r := o.run(t)
			rows[i] = o.name + "\t" + r.informedRow(o.duration)
			r.requireKnown(t)
			r.requireFewEvaluated(t, warmUp+o.duration)
			if o.require != nil {
				o.require(t, r)
			}
		})
	}
}

// requireKnown fails if the users at their usual addresses, whose accounts are not stolen, were not served.
func (r *results) requireKnown(t *testing.T) {
	t.Helper()
	if known := r.knownClients(); known.acceptedPercent() < 99.9 || known.wait(99) > time.Second {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.acceptedPercent(), known.wait(99), known.refusals)
	}
}

// requireAccepted fails if less than the given percentage of the clients of any of the classes was accepted.
func (r *results) requireAccepted(t *testing.T, percent float64, classes ...traffic.Class) {
	t.Helper()
	for _, class := range classes {
		if c := r.byClass[class]; c.acceptedPercent() < percent || c.clients == 0 {
			t.Errorf("%v: %.2f %% of %d accepted, want %v %%; refused by %v", class, c.acceptedPercent(), c.clients, percent, c.refusals)
		}
	}
}

// informedClasses are the classes that have a column of their own.
var informedClasses = []traffic.Class{
	traffic.Traveller, traffic.Newcomer, traffic.Roaming, traffic.Device, traffic.Owner, traffic.OwnerDevice,
	traffic.Shared, traffic.SharedToken, traffic.SharedNewcomer, traffic.Nearby, traffic.Victim,
}

// informedHeading is the header of the table.
func informedHeading() string {
	heading := "attack\tknown %\tp99\t"
	for _, c := range informedClasses {
		heading += c.String() + "\t"
	}
	return heading + "share\treached %\tevaluated\twith looks (all)\trefused\t"
}

// informedRow returns r, of an attack that lasted so long, as a row of the table.
func (r *results) informedRow(lasted time.Duration) string {
	known, attacker := r.knownClients(), r.byClass[traffic.Attacker]
	var row strings.Builder
	fmt.Fprintf(&row, "%.2f\t%v\t", known.acceptedPercent(), short(known.wait(99)))
	for _, class := range informedClasses {
		if c := r.byClass[class]; c.clients > 0 {
			fmt.Fprintf(&row, "%.1f", c.acceptedPercent())
		}
		row.WriteString("\t")
	}
	fmt.Fprintf(&row, "%.2f\t%.1f\t%s\t", r.fairness(), attacker.reachedPercent(), r.evaluations.describe(lasted))
	if all, perAccount := r.probes.evaluated(); r.probes.shown > 0 {
		fmt.Fprintf(&row, "≈%.0f (%.0f)", perAccount/max(1, lasted.Hours()), all)
	}
	fmt.Fprintf(&row, "\t%s\t", attacker.rules())
	return row.String()
}

// logTable logs rows under a heading, all with tabs between their columns.
func logTable(t *testing.T, heading string, rows []string) {
	t.Helper()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\n%s\n", heading, strings.Join(rows, "\n"))
	w.Flush()
	t.Log("\n" + table.String())
}
