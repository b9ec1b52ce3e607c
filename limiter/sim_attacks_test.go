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

// policy is what the gate allows unless told otherwise.
func policy() limiter.Policy {
	return limiter.Policy{
		Connect: limiter.Rate{Tokens: 60, Per: 12 * time.Second}, Open: 200, OpenPrelogin: 30,
		Source:     limiter.Rate{Tokens: 10, Per: 10 * time.Minute},
		Network:    limiter.Rate{Tokens: 100, Per: 10 * time.Minute},
		Pair:       limiter.Rate{Tokens: 5, Per: 10 * time.Minute},
		Account:    limiter.Rate{Tokens: 10, Per: time.Hour},
		Global:     limiter.Rate{Tokens: 200, Per: time.Second},
		KnownShare: 60, RepeatTTL: time.Minute, KnownTTL: 720 * time.Hour,
		WaitMax: 10 * time.Second, TableMax: 500_000,
	}
}

func newLimiter(tb testing.TB) *limiter.Limiter {
	tb.Helper()
	l, err := limiter.New(policy(), limiter.Key{1})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// opening is when the gate lets in its first client, and attacked when the crowd of a simulation comes: more than a day
// later, for until then the gate is learning.
var (
	opening  = time.Date(2022, 3, 28, 6, 0, 0, 0, time.UTC)
	attacked = opening.Add(30 * time.Hour)
)

// learn has residents log in at l once, from opening on.
func learn(l *limiter.Limiter, residents []traffic.Login) {
	t := opening
	for _, r := range residents {
		t = t.Add(time.Second / traffic.Normal)
		k := l.Ask(t, limiter.Attempt{Addr: r.Addr, Account: r.Account, Credential: l.Credential(r.Account, []byte(r.Secret))})
		k.Settle(t, limiter.Accepted)
	}
}

// An ordeal is one row of the table: an attack, and how long it is watched.
type ordeal struct {
	name    string
	times   string
	attacks []traffic.Attack
	lasts   time.Duration
}

// peace is how long a site is left alone before an attack.
const peace = 20 * time.Second

// ordeals returns every attack at 10, 30 and 100 times normal, the one by 20,000 addresses with a try a minute each, the
// incident with minutes for hours, and peace. Under the race detector it is each attack at 10 times normal, for less long.
func ordeals() (all []ordeal) {
	if underRace {
		for _, k := range traffic.Kinds() {
			all = append(all, ordeal{k.String(), "10", []traffic.Attack{traffic.Steady(k, peace, 10)}, peace})
		}
		return all
	}
	all = append(all, ordeal{"none", "1", nil, 2 * time.Minute})
	for _, k := range traffic.Kinds() {
		for _, o := range []struct {
			times float64
			lasts time.Duration
		}{{10, 2 * time.Minute}, {30, 80 * time.Second}, {100, 40 * time.Second}} {
			all = append(all, ordeal{k.String(), fmt.Sprint(o.times), []traffic.Attack{traffic.Steady(k, peace, o.times)}, o.lasts})
		}
	}
	return append(all,
		ordeal{"wide", "6.6", []traffic.Attack{traffic.Steady(traffic.Wide, peace, 1+20_000./60/traffic.Normal)}, 3 * time.Minute},
		ordeal{"incident", "4.27", []traffic.Attack{traffic.Incident(peace, time.Minute)}, 5 * time.Minute})
}

// undergo returns what becomes of those who come to l while o lasts.
func (o ordeal) undergo(tb testing.TB) *tally {
	tb.Helper()
	l, c := newLimiter(tb), traffic.New(1, traffic.Normal, attacked, o.attacks...)
	learn(l, c.KnownLogins())
	s := newSite(l, c, attacked)
	s.run(attacked.Add(peace))
	return s.watch(o.lasts)
}

// TestSimulation plays every attack against a site of 60 legitimate logins a second, behind a gate as it comes, before a
// backend that can check 200. `go test -run Simulation -v` prints the table.
func TestSimulation(t *testing.T) {
	all := ordeals()
	rows := make([]string, len(all))
	t.Cleanup(func() {
		var table strings.Builder
		w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(w, "%s\n%s\n", heading, strings.Join(rows, "\n"))
		w.Flush()
		t.Log("\n" + table.String())
	})
	for i, o := range all {
		t.Run(o.name+" "+o.times, func(t *testing.T) {
			t.Parallel()
			y := o.undergo(t)
			rows[i] = fmt.Sprintf("%s\t%s\t%s", o.name, o.times, y.row())
			y.require(t, o.name)
		})
	}
}

// require fails if those who belong were not served as they must be, whatever the attack.
func (y *tally) require(t *testing.T, attack string) {
	t.Helper()
	if known := y.known(); known.success() < 99.9 || known.wait(99) > 0 {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.success(), known.wait(99), known.refusals)
	}
	if traveller := y.class[traffic.Traveller]; traveller.success() < 99.9 {
		t.Errorf("travellers: %.2f %% accepted, refused by %v", traveller.success(), traveller.refusals)
	}
	if newcomer := y.class[traffic.Newcomer]; attack != "wide" && newcomer.success() < 95 {
		t.Errorf("newcomers: %.2f %% accepted, refused by %v", newcomer.success(), newcomer.refusals)
	}
	if attack == "wide" && y.share() < 1 {
		t.Errorf("newcomers get %.2f of their fair share of the common lane", y.share())
	}
	if n := y.busiest(check); n > checkers {
		t.Errorf("%d logins at the backend at once", n)
	}
}
