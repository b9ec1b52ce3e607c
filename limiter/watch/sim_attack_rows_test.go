//go:build !race

package watch

import (
	"testing"
	"time"
)

// The tests of package watch_test run a watch together with incidents. They use these declarations.

// Tick is the length of a tick.
const Tick = tick

// Monday is 00:00 UTC on a Monday.
var Monday = monday

// Learned simulates some days and returns the snapshot of the watch and the time at the end.
func Learned(seed uint64, rate float64, days int) ([]byte, time.Time) {
	w, end := newSimulation(seed, rate, monday, oslo), monday.AddDate(0, 0, days)
	for w.now.Before(end) {
		w.tick()
	}
	return w.Snapshot(w.now), end
}

// An AttackRow is an attack to simulate.
type AttackRow struct {
	Name  string
	lasts time.Duration // simulated
	apply events        // the attack first
	after time.Duration // from the start of the attack to that of the second event; the third begins 20 min after that
	At    time.Duration // from Monday 00:00 UTC
}

type events = []func(*simulation, time.Duration, *load)

// Eleven is Tuesday 11:00 in Oslo before the clock changes, from Monday 00:00 UTC.
const Eleven = 34 * time.Hour

// AttackRows are the attacks. In A7 the attack begins 5 min after the outage.
var AttackRows = []AttackRow{
	{"A1 the incident, as +135 %", 4 * time.Hour, events{incident(moreThanDouble)}, 0, Eleven},
	{"A2 the incident, as 135 % of normal", 3 * time.Hour, events{incident(aThird)}, 0, Eleven},
	{
		"A3 A1, and backends fail after 3 h", 5 * time.Hour,
		events{incident(moreThanDouble), outage(1, 20*time.Minute), outage(0.5, time.Hour)}, 3 * time.Hour, Eleven,
	},
	{"A4 a step to four times normal", time.Hour, events{step(3)}, 0, Eleven},
	{"A5 to twice normal, Sunday at 03:00", time.Hour, events{step(1)}, 0, 6*24*time.Hour + 2*time.Hour},
	{"A6 slowly, to +20 % in 3 h", 4 * time.Hour, events{ramp(0.2, 3*time.Hour)}, 0, Eleven},
	{"A7 A4, begun inside an outage of 15 min", 2 * time.Hour, events{step(3), outage(1, 15*time.Minute)}, -5 * time.Minute, Eleven},
	{"A8 A1, 30 % of it pass for known", 3 * time.Hour, events{imitating(0.3, incident(moreThanDouble))}, 0, Eleven},
	{"H1 four times normal that hangs up", time.Hour, events{hangUp(3)}, 0, Eleven},
	{"H2 connections held from many networks", time.Hour, events{hold(1)}, 0, Eleven},
	{"H3 H1, begun inside an outage of 15 min", time.Hour, events{hangUp(3), outage(1, 15*time.Minute)}, -5 * time.Minute, Eleven},
}

// Run simulates the row from a snapshot of what was learned, with the attack at start. It returns the state at the end of
// each tick from two hours before.
func (row *AttackRow) Run(t *testing.T, seed uint64, rate float64, snapshot []byte, start time.Time) (states []State) {
	t.Helper()
	w := newSimulation(seed, rate, start.Add(-2*time.Hour), oslo)
	if err := w.Restore(w.now, snapshot); err != nil {
		t.Fatal(err)
	}
	at := start
	for i, apply := range row.apply {
		w.events = append(w.events, event{at, apply})
		if i == 0 {
			at = at.Add(row.after)
		} else {
			at = at.Add(20 * time.Minute)
		}
	}
	for w.now.Before(start.Add(row.lasts)) {
		states = append(states, w.tick().State)
	}
	return states
}
