package limiter_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"postern/limiter"
	"postern/limiter/crowd"
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
func learn(l *limiter.Limiter, residents []crowd.Login) {
	t := opening
	for _, r := range residents {
		t = t.Add(time.Second / crowd.Normal)
		k := l.Ask(t, limiter.Attempt{Addr: r.Addr, Account: r.Account, Credential: l.Credential(r.Account, []byte(r.Secret))})
		k.Settle(t, limiter.Accepted)
	}
}

// An ordeal is one row of the table: an attack, and how long it is watched.
type ordeal struct {
	name    string
	times   string
	attacks []crowd.Attack
	lasts   time.Duration
}

const (
	peace = 20 * time.Second // before the attack
	tail  = 45 * time.Second // in which newcomers who came at the end try again
)

// ordeals returns every attack at 10, 30 and 100 times normal, the one by 20,000 addresses with a try a minute each, the
// incident with minutes for hours, and peace.
func ordeals() (all []ordeal) {
	all = append(all, ordeal{"none", "1", nil, 2 * time.Minute})
	for _, k := range crowd.Kinds() {
		for _, o := range []struct {
			times float64
			lasts time.Duration
		}{{10, 3 * time.Minute}, {30, 90 * time.Second}, {100, time.Minute}} {
			all = append(all, ordeal{k.String(), fmt.Sprint(o.times), []crowd.Attack{crowd.Steady(k, peace, o.times)}, o.lasts})
		}
	}
	return append(all,
		ordeal{"wide", "6.6", []crowd.Attack{crowd.Steady(crowd.Wide, peace, 1+20_000./60/crowd.Normal)}, 4 * time.Minute},
		ordeal{"incident", "4.27", []crowd.Attack{crowd.Incident(peace, time.Minute)}, 5 * time.Minute})
}

// undergo returns what becomes of those who come to l while o lasts.
func (o ordeal) undergo(tb testing.TB) *tally {
	tb.Helper()
	l, c := newLimiter(tb), crowd.New(1, crowd.Normal, attacked, o.attacks...)
	learn(l, c.Residents())
	s := newSite(l, c, attacked)
	s.tally.from, s.tally.until = attacked.Add(peace), attacked.Add(peace+o.lasts)
	s.run(s.tally.until.Add(tail))
	return s.tally
}

// TestSimulation plays every attack against a site of 60 legitimate logins a second, behind a gate as it comes, before a
// backend that can check 200. `go test -run Simulation -v` prints the table.
func TestSimulation(t *testing.T) {
	var mu sync.Mutex
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, heading)
	t.Cleanup(func() {
		w.Flush()
		t.Log("\n" + table.String())
	})
	for _, o := range ordeals() {
		t.Run(o.name+" "+o.times, func(t *testing.T) {
			t.Parallel()
			y := o.undergo(t)
			mu.Lock()
			fmt.Fprintf(w, "%s\t%s\t%s\n", o.name, o.times, y.row())
			mu.Unlock()
			y.require(t, o.name)
		})
	}
}

// A bar is what those who belong must get at least, whatever the attack.
type bar struct {
	known, travellers, newcomers float64       // per cent of them that are accepted
	wait                         time.Duration // p99 of the known
	share                        float64       // of the newcomers, where every attacker is as new as they are
}

// wanted is where the bar belongs, holds where it is until the limiter has lanes.
var (
	wanted = bar{known: 99.9, travellers: 99.9, newcomers: 95, share: 1}
	holds  = bar{known: 3, travellers: 3, newcomers: 4, share: 0.4, wait: 20 * time.Second}
)

// require fails if those who belong were not served as they must be, and tells what is still wanted.
func (y *tally) require(t *testing.T, attack string) {
	t.Helper()
	for _, lack := range y.lacks(holds, attack) {
		t.Error(lack)
	}
	for _, lack := range y.lacks(wanted, attack) {
		t.Log("wanted: " + lack)
	}
	if n := y.busiest(check); n > checkers {
		t.Errorf("%d logins at the backend at once", n)
	}
}

// lacks says what keeps y below b.
func (y *tally) lacks(b bar, attack string) (lacks []string) {
	lack := func(format string, args ...any) { lacks = append(lacks, fmt.Sprintf(format, args...)) }
	if known := y.known(); known.success() < b.known || known.wait(99) > b.wait {
		lack("known: %.2f %% accepted, p99 waits %v, refused by %v", known.success(), known.wait(99), known.refusals)
	}
	if traveller := y.class[crowd.Traveller]; traveller.success() < b.travellers {
		lack("travellers: %.2f %% accepted, refused by %v", traveller.success(), traveller.refusals)
	}
	if newcomer := y.class[crowd.Newcomer]; attack != "wide" && newcomer.success() < b.newcomers {
		lack("newcomers: %.2f %% accepted, refused by %v", newcomer.success(), newcomer.refusals)
	}
	if attack == "wide" && y.share() < b.share {
		lack("newcomers get %.2f of their fair share of the common lane", y.share())
	}
	return lacks
}
