package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/limiter/traffic"
)

// informedScenario measures attacks that use what is known of the rules. Package
// limiter simulates the same attacks for longer.
var informedScenario = Scenario{
	Name:  "informed",
	About: "users log in while their site is attacked by people who have read the rules of postern",
	works: informedWorks,
}

// retryTime is for how long after an attack clients may try again: long enough
// for two pauses and two tries without an answer.
const retryTime = 40 * time.Second

// informedBaseline is the longest time of normal traffic before an attack. It
// has no figures of its own.
const informedBaseline = 2 * time.Second

// informedRow is one attack. Rates are those at a site of [traffic.Normal]
// logins a second.
type informedRow struct {
	name     string
	kind     traffic.Kind
	rate     float64               // attempts of the attackers, a second
	accounts int                   // that are stolen
	wave     bool                  // begin with a wave that fills the queue of the mail server
	added    []addedUsers          // beside the usual users
	tries    map[traffic.Class]int // how often clients try, where that differs from package traffic
	empty    bool                  // postern knows no user, and the attack has begun before it starts
	goals    []classGoal           // beside those that hold for the known
	peers    []string              // targets that can play it and have something to show, beside postern
}

// classGoal is the least share of the clients of one class that must be accepted,
// in per cent.
type classGoal struct {
	class   traffic.Class
	atLeast float64
}

// The clients of some rows. HAProxy's limit of 50 connections in ten seconds lets
// those behind the address and two guesses a second pass.
var (
	behindAddress = []addedUsers{{traffic.Shared, 1.5}, {traffic.SharedToken, 1}, {traffic.SharedNewcomer, .5}}
	withTokens    = []addedUsers{{traffic.Roaming, 2}}
	patient       = map[traffic.Class]int{traffic.Phone: 3, traffic.Office: 3, traffic.Traveller: 3}
)

// The goals of some rows.
var (
	phonesAccepted   = []classGoal{{traffic.Shared, 99}}
	everyoneAccepted = []classGoal{{traffic.Shared, 99}, {traffic.SharedToken, 90}, {traffic.SharedNewcomer, 90}}
)

var informedRows = []informedRow{
	{name: "stolen accounts 330/s", kind: traffic.Stolen, rate: 330, accounts: 1000, wave: true, peers: []string{"haproxy"}},
	{name: "stolen accounts 1000/s", kind: traffic.Stolen, rate: 1000, accounts: 1000, wave: true},
	{name: "shared address, 2 guesses/s", kind: traffic.SharedGuess, rate: 2, added: behindAddress, goals: everyoneAccepted, peers: []string{"haproxy"}},
	{name: "shared address, 20 guesses/s", kind: traffic.SharedGuess, rate: 20, added: behindAddress, goals: phonesAccepted, peers: []string{"haproxy"}},
	{name: "shared address, 40 idle connections", kind: traffic.SharedIdle, rate: 1, added: behindAddress, goals: everyoneAccepted, peers: []string{"haproxy"}},
	{name: "shared address, 10 guesses at once", kind: traffic.SharedBurst, rate: 1, added: behindAddress, goals: everyoneAccepted},
	{name: "hang-ups 60/s", kind: traffic.HangUp, rate: 60, added: withTokens, goals: []classGoal{{traffic.Roaming, 99}, {traffic.Newcomer, 95}}, peers: []string{"haproxy"}},
	{name: "hang-ups 540/s", kind: traffic.HangUp, rate: 540, added: withTokens, goals: []classGoal{{traffic.Roaming, 99}}},
	{
		name: "everyone 10×", kind: traffic.Wide, rate: 540, wave: true, added: withTokens,
		tries: map[traffic.Class]int{traffic.Traveller: 3}, goals: []classGoal{{traffic.Roaming, 99}, {traffic.Traveller, 99}},
	},
	{
		name: "one account 10×", kind: traffic.Target, rate: 540,
		added: []addedUsers{{traffic.Owner, 2}, {traffic.OwnerDevice, 2}}, goals: []classGoal{{traffic.OwnerDevice, 100}},
	},
	{name: "one password 100/s", kind: traffic.Spray48, rate: 100, peers: []string{"haproxy"}},
	{name: "empty table 10×", kind: traffic.Wide, rate: 540, tries: patient, empty: true, goals: []classGoal{{traffic.Phone, 90}}},
}

// informedWorks lists all rows.
func informedWorks(o *Options) (works []Work, err error) {
	for _, row := range informedRows {
		works = append(works, row.work(o))
	}
	return append(works, guessWork(o)), nil
}

// plan returns the attack of row at a site that is small enough for
// [AttackOptions.MaxRate].
func (row informedRow) plan(o *AttackOptions) attackPlan {
	times := 1 + row.rate/traffic.Normal
	short := *o
	short.Baseline = min(o.Baseline, informedBaseline)
	p := short.plan(row.kind, times)
	scale := p.normal / traffic.Normal
	p.informed, p.retries, p.tries, p.empty = true, retryTime, row.tries, row.empty
	p.attack.Accounts = int(float64(row.accounts) * scale)
	for _, u := range row.added {
		p.added = append(p.added, addedUsers{u.class, u.rate * scale})
	}
	if row.empty {
		p.baseline = 0
	}
	if !row.wave {
		p.onset, p.attack.Curve = 0, []traffic.Phase{{From: p.baseline, Times: times}}
		p.about = fmt.Sprintf("After %v of normal traffic the attack, %s, begins.", p.baseline, row.kind)
	}
	p.about += fmt.Sprintf(" The attackers make %.3g attempts a second", row.rate*scale)
	if scale < 1 {
		p.about += fmt.Sprintf(", and the site has %.0f %% of its size and of its attackers, because -most allows no more logins", 100*scale)
	}
	p.about += fmt.Sprintf(". Clients that try again do so for up to %v after the attack, and count by the result of their last try.", retryTime)
	return p
}

// work describes row.
func (row informedRow) work(o *Options) Work {
	w := row.plan(&o.Attack).work(o, "informed, "+row.name)
	return w.onlyAt(append([]string{"postern"}, row.peers...)...)
}

// onlyAt returns w such that other targets are left out.
func (w Work) onlyAt(names ...string) Work {
	measure := w.measure
	w.measure = func(ctx context.Context, t *target, s *sample) error {
		if !slices.Contains(names, t.name) {
			return fmt.Errorf("%s: it cannot play this, or has nothing to show in it; measured at %s: %w", t.name, strings.Join(names, ", "), errLeftOut)
		}
		return measure(ctx, t, s)
	}
	return w
}

// clientNames are the names in figures of the classes of clients that have one.
var clientNames = []struct {
	class traffic.Class
	name  string
}{
	{traffic.Phone, "known"},
	{traffic.Traveller, "travellers"},
	{traffic.Newcomer, "newcomers"},
	{traffic.Roaming, "token users at new addresses"},
	{traffic.Shared, "phones behind the address"},
	{traffic.SharedToken, "token users behind the address"},
	{traffic.SharedNewcomer, "newcomers behind the address"},
	{traffic.Owner, "owner at new addresses"},
	{traffic.OwnerDevice, "owner with a device"},
	{traffic.Victim, "owners of stolen accounts"},
}

// clientName returns the name of a class in figures.
func clientName(k traffic.Class) string {
	for _, c := range clientNames {
		if c.class == k {
			return c.name
		}
	}
	return ""
}

// meterAttack returns a channel that gets a meter when logins begin to count as
// under attack, and nothing if the mail server cannot be asked.
func (r *trafficRun) meterAttack(ctx context.Context) <-chan meter {
	meters := make(chan meter, 1)
	go func() {
		defer close(meters)
		if pause(ctx, time.Until(r.countFrom)) != nil {
			return
		}
		if m, err := r.target.meter(ctx); err == nil {
			meters <- m
		}
	}()
	return meters
}

// reportInformed adds the figures of the scenario informed to s.
func (r *trafficRun) reportInformed(ctx context.Context, s *sample, meters <-chan meter) {
	for _, c := range clientNames {
		clients := r.clients[c.class]
		if clients.all() == 0 {
			continue
		}
		s.figure(c.name+", accepted", "%", higher, clients.acceptedShare())
		if what := clients.failures(); what != "" {
			s.problem("of %d %s: %s", clients.all(), c.name, what)
		}
	}
	s.figure(knownSlowest, "ms", lower, r.attack[traffic.Phone].millis(99))
	attackers := r.attack[traffic.Attacker]
	if m, ok := <-meters; ok {
		if counts, known := m.counts(ctx); known {
			reached := counts.Denied - counts.Former + int64(attackers.accepted())
			s.figure(reachedFigure, "%", lower, 100*float64(reached)/float64(max(1, attackers.all())))
		}
	}
	s.figure("the bench itself was late, 99 %", "ms", neither, r.late.millis(99))
	if n := r.notResumed.Load(); n > 0 {
		s.problem("%d TLS sessions of devices were not resumed", n)
	}
}

// reachedFigure is the figure of the attackers' passwords that the mail server
// checked.
const reachedFigure = "attackers' logins that reach the mail server"
