//go:build !race

package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A spraySite simulates the suspects of a site, without its users.
type spraySite struct {
	*simulation
	spray  slowSpray
	busy   float64
	fault  time.Time // the password database is known to fail until then
	alarms []time.Time
	on     bool
}

func newSpraySite(seed uint64, rate float64) *spraySite {
	return &spraySite{simulation: newSimulation(seed, rate, monday, oslo), spray: newSlowSpray(), busy: rate * 10 * 0.98}
}

// sprayed adds a spray of so many sources, each with one try an hour.
func sprayed(sources float64) func(*simulation, time.Duration, *load) {
	return func(_ *simulation, _ time.Duration, p *load) { p.attack += sources / 360 }
}

// run simulates until end.
func (w *spraySite) run(end time.Time) {
	for w.now.Before(end) {
		l := w.nextLoad()
		wrong := 1 - newcomersRight
		if l.database {
			wrong = 1
			w.fault = w.now.Add(2 * time.Minute)
		}
		w.from(w.poisson(l.newcomers*wrong*l.up), 0, 1<<22)
		w.from(w.poisson(l.bots*l.up), 1<<22, 1<<18)
		w.from(w.poisson(l.attack*l.up), 1<<23, 1<<30)
		if w.now.Before(w.wave.until) {
			w.from(w.poisson(w.wave.rate*w.rate*10*l.up), uint64(w.wave.first)<<32, uint32(w.wave.networks))
		}
		w.now = w.now.Add(tick)
		on := w.spray.tick(w.now.In(w.location), w.busy, w.now.Before(w.fault))
		if on && !w.on {
			w.alarms = append(w.alarms, w.now)
		}
		w.on = on
	}
}

// from counts n suspects from so many networks at random.
func (w *spraySite) from(n int, first uint64, networks uint32) {
	for range n {
		at := first + uint64(w.rand.Uint32N(networks))
		w.spray.attempt(w.now, hashNumber(at))
	}
}

// wide is a wave of bots at three times the rate of the strongest usual one, each attempt from another network.
func wide(w *simulation, since time.Duration, p *load) {
	if since < 40*time.Minute {
		p.attack += 0.21 * w.rate * 10
	}
}

// quietWeek simulates a week with the events of the other quiet weeks, a longer fault, and a wide wave of bots.
func (w *spraySite) quietWeek(week int) {
	w.events = nil
	for _, row := range quietRows {
		if row.apply == nil || !row.in(week) {
			continue
		}
		at := w.now.AddDate(0, 0, row.day).Add(time.Duration(row.hour) * time.Hour)
		at = at.Add(time.Duration(w.rand.IntN(row.late*3600+1)) * time.Second).Truncate(tick)
		w.events = append(w.events, event{at, row.apply})
	}
	w.events = append(w.events,
		event{w.now.Add(time.Duration(12+w.rand.IntN(12)) * time.Hour), database(time.Hour)},
		event{w.now.AddDate(0, 0, 6).Add(time.Duration(w.rand.IntN(20)) * time.Hour), wide})
	w.run(w.now.AddDate(0, 0, 7))
}

// TestSimulationQuietWeeksSlowSpray: weeks with waves of bots and faults, and without an alarm.
func TestSimulationQuietWeeksSlowSpray(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate         float64
		sites, weeks int
	}{{0.5, 4, 20}, {2, 4, 20}, {20, 4, 20}, {200, 1, 5}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			for site := range uint64(c.sites) {
				w := newSpraySite(site, c.rate)
				for week := range c.weeks {
					w.quietWeek(week)
				}
				if len(w.alarms) > 0 {
					t.Errorf("site %d: alarms at %v", site, w.alarms)
				}
			}
		})
	}
}

// TestSimulationSlowSpray prints how soon a slow spray is seen, and checks that its end is.
func TestSimulationSlowSpray(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rate    float64
		sources float64
		runs    int
		most    time.Duration
	}{
		{"500 sources at 2/s", 2, 500, 8, 2 * time.Hour},
		{"5,000 sources at 20/s", 20, 5000, 5, 2 * time.Hour},
		{"5,000 sources at 200/s", 200, 5000, 1, 24 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var alerts, ends []time.Duration
			for run := range c.runs {
				w := newSpraySite(uint64(run)+50, c.rate)
				w.run(monday.AddDate(0, 0, 22))
				start := w.now.Add(time.Duration(run*37) * 7 * time.Minute)
				w.run(start)
				w.events = []event{{start, sprayed(c.sources)}}
				w.run(start.Add(36 * time.Hour))
				if len(w.alarms) != 1 {
					t.Errorf("run %d: %d alarms", run, len(w.alarms))
					continue
				}
				alerts = append(alerts, w.alarms[0].Sub(start))
				if !w.on {
					t.Errorf("run %d: the alarm ended in the spray", run)
				}
				w.events = nil
				over := w.now
				for w.on && w.now.Before(over.Add(12*time.Hour)) {
					w.run(w.now.Add(sprayBin))
				}
				ends = append(ends, w.now.Sub(over))
				w.run(over.Add(48 * time.Hour))
				if len(w.alarms) != 1 {
					t.Errorf("run %d: another alarm after the end", run)
				}
			}
			if len(alerts) == 0 {
				return
			}
			t.Logf("%s: alert after %s min, end seen after %s min", c.name, medianOf(alerts), medianOf(ends))
			if slices.Max(alerts) > c.most {
				t.Errorf("alert after %v", slices.Max(alerts))
			}
		})
	}
}

// TestSimulationSlowSprayAdversary prints how many attempts a day are left to adversaries who know what is expected and are
// always 20 % above it, each attempt from another network, and checks bounds.
func TestSimulationSlowSprayAdversary(t *testing.T) {
	t.Parallel()
	const weeks = 8
	for _, c := range []struct {
		rate float64
		most [2]float64 // attempts a day in the first week and in the last
	}{{2, [2]float64{1300, 5600}}, {20, [2]float64{12_000, 47_000}}} {
		w := newSpraySite(70, c.rate)
		w.run(monday.AddDate(0, 0, 35))
		var daily [weeks]float64
		for week := range weeks {
			w.events = []event{{w.now, func(_ *simulation, _ time.Duration, p *load) {
				usual, _ := w.spray.expected(w.spray.hour)
				p.attack = max(0, (1.2*usual-360*p.bots)/360)
				daily[week] += p.attack / 7
			}}}
			w.run(w.now.AddDate(0, 0, 7))
		}
		t.Logf("%.0f logins a second; attempts a day in each week: %.0f; %d alarms", c.rate, daily, len(w.alarms))
		if daily[0] > c.most[0] || daily[weeks-1] > c.most[1] {
			t.Errorf("%.0f attempts a day in the first week, %.0f in the last", daily[0], daily[weeks-1])
		}
	}
}

// medianOf returns the median and the greatest of some times in minutes.
func medianOf(times []time.Duration) string {
	slices.Sort(times)
	return fmt.Sprintf("%.0f / %.0f", times[len(times)/2].Minutes(), times[len(times)-1].Minutes())
}
