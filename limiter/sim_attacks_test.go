//go:build !race

package limiter_test

import (
	"fmt"
	"testing"
	"time"

	"postern/limiter/traffic"
)

// A scenario is one row of the table: an attack, and for how long it is measured.
type scenario struct {
	name     string
	times    string
	attacks  []traffic.Attack
	duration time.Duration
}

// warmUp is how long a simulation runs before an attack.
const warmUp = 20 * time.Second

// scenarios returns normal traffic, every attack that can have any strength at 10, 30 and 100 times normal, the one by 20,000 addresses with an
// attempt a minute each, and the incident with minutes for hours.
func scenarios() (all []scenario) {
	all = append(all, scenario{"none", "1", nil, 2 * time.Minute})
	for k := traffic.Few; k <= traffic.Insider; k++ {
		for _, o := range []struct {
			times float64
			lasts time.Duration
		}{{10, 2 * time.Minute}, {30, 80 * time.Second}, {100, 40 * time.Second}} {
			all = append(all, scenario{k.String(), fmt.Sprint(o.times), []traffic.Attack{traffic.Steady(k, warmUp, o.times)}, o.lasts})
		}
	}
	return append(all,
		scenario{"wide", "6.6", []traffic.Attack{traffic.Steady(traffic.Wide, warmUp, 1+20_000./60/traffic.Normal)}, 3 * time.Minute},
		scenario{"incident", "4.27", []traffic.Attack{traffic.Incident(warmUp, time.Minute)}, 5 * time.Minute})
}

// run returns the results of o.
func (o scenario) run(tb testing.TB) *results {
	tb.Helper()
	l, c := newLimiter(tb), traffic.New(1, traffic.Normal, attackStart, o.attacks...)
	acceptAll(l, c.KnownLogins())
	s := newSimulation(l, c, attackStart)
	s.run(attackStart.Add(warmUp))
	return s.measure(o.duration)
}

// TestSimulation runs every attack against a site with 60 legitimate logins a second, the default limits and a backend
// that can check 200 passwords a second. `go test -run Simulation -v` prints a table.
func TestSimulation(t *testing.T) {
	all := scenarios()
	rows := make([]string, len(all))
	t.Cleanup(func() { logTable(t, heading, rows) })
	for i, o := range all {
		t.Run(o.name+" "+o.times, func(t *testing.T) {
			t.Parallel()
			r := o.run(t)
			rows[i] = fmt.Sprintf("%s\t%s\t%s", o.name, o.times, r.row())
			r.require(t, o.name)
			r.requireFewEvaluated(t, warmUp+o.duration)
		})
	}
}

// require fails if the users of the site were not served as they must be under the attack.
func (r *results) require(t *testing.T, attack string) {
	t.Helper()
	if known := r.knownClients(); known.acceptedPercent() < 99.9 || known.wait(99) > 0 {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.acceptedPercent(), known.wait(99), known.refusals)
	}
	if traveller := r.byClass[traffic.Traveller]; traveller.acceptedPercent() < 99.9 {
		t.Errorf("travellers: %.2f %% accepted, refused by %v", traveller.acceptedPercent(), traveller.refusals)
	}
	if newcomer := r.byClass[traffic.Newcomer]; attack != "wide" && newcomer.acceptedPercent() < 95 {
		t.Errorf("newcomers: %.2f %% accepted, refused by %v", newcomer.acceptedPercent(), newcomer.refusals)
	}
	if attack == "wide" && r.fairness() < 1 {
		t.Errorf("newcomers get %.2f of their fair share of the common lane, want at least 1", r.fairness())
	}
	if n := r.maxWithin(loginTime); n > backendLogins {
		t.Errorf("%d logins at the backend at once", n)
	}
}
