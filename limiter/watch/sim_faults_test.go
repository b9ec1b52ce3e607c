//go:build !race

package watch

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// learnedSite returns a simulation that has learned for three weeks, up to Tuesday 10:00 in Oslo. It is made once for each
// rate; use a copy.
var learnedSite = struct {
	sync.Mutex
	at map[float64]*simulation
}{at: map[float64]*simulation{}}

// learned returns a copy of a site that has learned.
func learned(rate float64, seed uint64) *simulation {
	learnedSite.Lock()
	defer learnedSite.Unlock()
	w := learnedSite.at[rate]
	if w == nil {
		w = newSimulation(11, rate, monday, oslo)
		for w.now.Before(monday.AddDate(0, 0, 22).Add(9 * time.Hour)) {
			w.tick()
		}
		learnedSite.at[rate] = w
	}
	w = w.fork()
	w.random.Seed(seed, 2)
	return w
}

// TestSimulationPasswordFaults: the password database refuses users, and some users change networks. Within some minutes
// the class is auth_fault, and it is never attack.
func TestSimulationPasswordFaults(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{2, 20} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			passwordFaults(t, rate)
		})
	}
}

// passwordFaults simulates all faults at a site with this rate of logins a second.
func passwordFaults(t *testing.T, rate float64) {
	var log strings.Builder
	fmt.Fprintf(&log, "%v logins a second: minutes until auth_fault, greatest share denied\n", rate)
	for _, refused := range []float64{0.1, 0.2, 0.6, 1} {
		for _, mobile := range []float64{0, 0.1, 0.33, 0.5} {
			for _, each := range []string{"user", "attempt"} {
				p := newPopulation(learned(rate, uint64(1000*refused+100*mobile)), mobile)
				p.retries, p.retry = 0.8, time.Minute
				for range 60 {
					p.tick()
				}
				p.refuses = perUser(refused)
				if each == "attempt" {
					p.refuses = func(int) bool { return p.rand.Float64() < refused }
				}
				start, named, share := p.now, time.Duration(-1), 0.0
				for p.now.Before(start.Add(time.Hour)) {
					s := p.tick().State
					if named < 0 && s.AuthFault {
						named = s.Time.Sub(start)
					}
					share = max(share, s.DeniedShare)
					if s.Attacked() || named < 0 && s.Tighten {
						t.Fatalf("%v refused for each %s, %v mobile: %s after %v, excess %.3f", refused, each, mobile, s.Class, s.Time.Sub(start), s.Excess)
					}
				}
				p.refuses = func(int) bool { return false }
				for range 180 {
					if s := p.tick().State; s.Attacked() {
						t.Fatalf("%v refused for each %s, %v mobile: attack after the end", refused, each, mobile)
					}
				}
				if named < 0 || named > 4*time.Minute {
					t.Errorf("%v refused for each %s, %v mobile: auth_fault after %v", refused, each, mobile, named)
				}
				fmt.Fprintf(&log, "%3.0f %% of the %-8s %3.0f %% mobile: %4.1f min, %3.0f %%\n", 100*refused, each+"s", 100*mobile, named.Minutes(), 100*share)
			}
		}
	}
	t.Log(log.String())
}

// TestSimulationPasswordFaultsUnproven: where no credentials are known, a fault is known by the denials of the known alone.
func TestSimulationPasswordFaultsUnproven(t *testing.T) {
	t.Parallel()
	for _, strangers := range []float64{0, 0.1, 0.33} {
		w := newSimulation(12, 20, monday, oslo)
		w.events = []event{{w.now, unproven(strangers)}}
		start := monday.AddDate(0, 0, 8).Add(9 * time.Hour)
		for w.now.Before(start) {
			w.tick()
		}
		for _, refused := range []float64{0.6, 1} {
			f := w.fork()
			f.events = append(slices.Clone(w.events), event{start, refusing(refused, time.Hour)})
			named := time.Duration(-1)
			for f.now.Before(start.Add(90 * time.Minute)) {
				s := f.tick().State
				if named < 0 && s.AuthFault {
					named = f.now.Sub(start)
				}
				if s.Attacked() {
					t.Fatalf("%v refused, %v strangers: attack after %v", refused, strangers, f.now.Sub(start))
				}
			}
			if named < 0 || named > 2*time.Minute {
				t.Errorf("%v refused, %v strangers: auth_fault after %v", refused, strangers, named)
			}
		}
	}
}

// TestSimulationForcedChange: all users have to change their passwords on one day, and programs with the old one retry all
// day. That is neither an attack nor a fault.
func TestSimulationForcedChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate float64
		runs int
	}{{20, 4}, {2, 20}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			alerts, faults, notices, share := 0, 0, 0, 0.0
			for run := range c.runs {
				p := newPopulation(learned(c.rate, uint64(run)), 0.33)
				p.changing()
				var alert, fault, notice bool
				for end := p.now.Add(14 * time.Hour); p.now.Before(end); {
					s := p.tick().State
					alert, fault, notice = alert || s.Attacked(), fault || s.AuthFault, notice || s.Tighten
					share = max(share, s.DeniedShare)
				}
				for n, is := range map[*int]bool{&alerts: alert, &faults: fault, &notices: notice} {
					if is {
						*n++
					}
				}
			}
			t.Logf("%v logins a second, %d runs: alert in %d, auth_fault in %d, notice in %d; greatest share denied %.0f %%",
				c.rate, c.runs, alerts, faults, notices, 100*share)
			if alerts+faults > 0 {
				t.Errorf("alert in %d, auth_fault in %d", alerts, faults)
			}
		})
	}
}

// TestSimulationHarmlessWaves: small waves of bots, waves that repeat their guesses, and programs with an old password are
// no attack.
func TestSimulationHarmlessWaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		apply func(*simulation, time.Duration, *load)
		runs  int
	}{
		{"bots x3 for 40 min", bots(3), 48},
		{"half of a busy hour, a twelfth of it distinct guesses", repeats(0.5), 12},
	} {
		for _, rate := range []float64{2, 20} {
			t.Run(fmt.Sprintf("%s at %v", c.name, rate), func(t *testing.T) {
				t.Parallel()
				alerts, notices := 0, 0
				for run := range c.runs {
					w := learned(rate, uint64(run))
					w.events = []event{{w.now.Add(time.Duration(run) * time.Hour / 2), c.apply}}
					var alert, notice bool
					for end := w.events[0].start.Add(time.Hour); w.now.Before(end); {
						s := w.tick().State
						alert, notice = alert || s.Attacked(), notice || s.Tighten
					}
					if alert {
						alerts++
					}
					if notice {
						notices++
					}
				}
				t.Logf("%d runs: alert in %d, notice in %d", c.runs, alerts, notices)
				if alerts > 0 {
					t.Errorf("alert in %d of %d runs", alerts, c.runs)
				}
			})
		}
	}
}

// TestSimulationStaleClients: five times as many programs with a wrong password as usual. Some change networks; what they
// show worked once.
func TestSimulationStaleClients(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{2, 20} {
		w := learned(rate, 3)
		type stale struct {
			next   time.Time
			period time.Duration
			mobile bool
		}
		programs := make([]stale, int(rate*150)) // 5 % of the logins
		for i := range programs {
			programs[i] = stale{w.now.Add(time.Duration(w.rand.Float64() * float64(time.Hour))), 5*time.Minute + time.Duration(w.rand.Float64()*float64(time.Hour)), i%3 == 0}
		}
		var classes []Class
		for end := w.now.Add(12 * time.Hour); w.now.Before(end); {
			for i := range programs {
				if s := &programs[i]; !w.now.Before(s.next) {
					a := Attempt{Outcome: Denied, Credential: uint64(i + 1), Former: s.mobile}
					a.Source, a.Network = blocks(uint32(i), 1)
					if s.mobile {
						a.Source, a.Network = blocks(w.rand.Uint32(), 1)
					}
					w.countAttempt(a)
					s.next = s.next.Add(s.period)
				}
			}
			if s := w.tick().State; !slices.Contains(classes, s.Class) {
				classes = append(classes, s.Class)
			}
		}
		t.Logf("%v logins a second: %v", rate, classes)
		if slices.Contains(classes, ClassAttack) {
			t.Error("an alert")
		}
	}
}
