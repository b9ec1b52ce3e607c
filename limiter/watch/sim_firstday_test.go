//go:build !race

package watch

import (
	"testing"
	"time"
)

// TestSimulationFirstDays: no alert on the first day of 40 sites without an attack.
func TestSimulationFirstDays(t *testing.T) {
	t.Parallel()
	for site := range uint64(40) {
		rate := [...]float64{20, 2, 20, 0.5}[site%4]
		w := newSimulation(site+300, rate, monday.Add(time.Duration(site)*5*time.Hour+time.Duration(site%3)*17*time.Minute), oslo)
		for end := w.now.Add(26 * time.Hour); w.now.Before(end); {
			if s := w.tick().State; s.Attacked() {
				t.Errorf("site %d, %v logins a second: an alert at %v", site, rate, w.now.In(w.location))
				break
			}
		}
	}
}

// TestSimulationAttackAtTheStart: an attack that begins in the first minutes of a new gateway.
func TestSimulationAttackAtTheStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rate  float64
		apply func(*simulation, time.Duration, *load)
		hour  int
	}{
		{"33 wrong a second against 4 good", 4, func(_ *simulation, _ time.Duration, p *load) { p.attack = 330 }, 9},
		{"four times normal", 20, step(3), 9},
		{"four times normal, small site", 2, step(3), 9},
		{"four times normal, at night", 20, step(3), 1},
		{"five times normal, smallest site", 0.5, step(4), 9},
	} {
		for run := range 5 {
			w := newSimulation(uint64(run), c.rate, monday.Add(time.Duration(c.hour)*time.Hour), oslo)
			w.events = []event{{w.now.Add(time.Duration(run) * 3 * time.Minute), c.apply}}
			alert := untilAlert(w, time.Hour)
			if run == 0 {
				t.Logf("%s: alert after %.1f min", c.name, alert.Minutes())
			}
			if alert < 0 || alert > 5*time.Minute {
				t.Errorf("%s, begun %d min after the start: alert after %v", c.name, run*3, alert)
			}
			for end := w.now.Add(4 * time.Hour); w.now.Before(end); {
				if s := w.tick().State; !s.Attacked() {
					t.Fatalf("%s: over after %v", c.name, w.now.Sub(w.events[0].start))
				}
			}
		}
	}
}

// untilAlert simulates w until there is an attack, and returns the time since its event. It is negative if there is none
// in time, or one before.
func untilAlert(w *simulation, most time.Duration) time.Duration {
	start := w.events[0].start
	for w.now.Before(start.Add(most)) {
		if s := w.tick().State; s.Attacked() {
			return w.now.Sub(start)
		}
	}
	return -1
}

// TestSimulationIncidentOnTheFirstDay: the incident after some hours of learning.
func TestSimulationIncidentOnTheFirstDay(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{20, 2} {
		for _, hours := range []int{2, 11} {
			var worst time.Duration
			for run := range 5 {
				start := monday.Add(Eleven)
				w := newSimulation(uint64(run), rate, start.Add(-time.Duration(hours)*time.Hour), oslo)
				w.events = []event{{start, incident(moreThanDouble)}}
				alert := untilAlert(w, 2*time.Hour)
				if worst = max(worst, alert); alert < 0 || alert > 20*time.Minute {
					t.Errorf("%v logins a second, %d h of learning: alert after %v", rate, hours, alert)
				}
			}
			t.Logf("%v logins a second, %d h of learning: alert after %.1f min at most", rate, hours, worst.Minutes())
		}
	}
}

// TestSimulationPasswordFaultOnTheFirstDay: a fault of the password database two hours after the start is no attack.
func TestSimulationPasswordFaultOnTheFirstDay(t *testing.T) {
	t.Parallel()
	for _, refused := range []float64{0.2, 0.6, 1} {
		for _, rate := range []float64{2, 20} {
			p := newPopulation(newSimulation(8, rate, monday.Add(7*time.Hour), oslo), 0.33)
			for range 2 * 360 {
				p.tick()
			}
			p.refuses, p.retries, p.retry = perUser(refused), 0.8, time.Minute
			named := false
			for i := range 360 {
				s := p.tick().State
				if s.Attacked() {
					t.Fatalf("%v refused at %v logins a second: attack after %d ticks", refused, rate, i)
				}
				if named = named || s.AuthFault; !named && i > 18 {
					t.Fatalf("%v refused at %v logins a second: not named", refused, rate)
				}
			}
		}
	}
}
