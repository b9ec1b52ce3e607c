package watch

import (
	"testing"
	"time"
)

// The tests of package watch_test hold a watch and its incidents together. They need this of the tests inside.
const (
	Tick      = tick
	UnderRace = underRace
)

// Monday is the first moment of a Monday.
var Monday = monday

// oslo is where the worlds are.
const oslo = "Europe/Oslo"

// Learned returns what a watch knows of a world after some days, and the time then.
func Learned(seed uint64, rate float64, days int) ([]byte, time.Time) {
	w, end := newWorld(seed, rate, monday, oslo), monday.AddDate(0, 0, days)
	for w.now.Before(end) {
		w.tick()
	}
	return w.Snapshot(w.now), end
}

// An AttackRow is an attack.
type AttackRow struct {
	Name  string
	lasts time.Duration // looked at
	play  []func(*world, time.Duration, *plan)
	after []time.Duration // the attack begins that each of them does
	At    time.Duration   // from Monday 00:00 UTC
}

// Eleven is Tuesday 11:00 in Oslo before the clock changes, from Monday 00:00 UTC.
const Eleven = 34 * time.Hour

// AttackRows are the attacks. Of an outage the first 5 min are over when the attack begins.
var AttackRows = []AttackRow{
	{"A1 the incident, as +135 %", 4 * time.Hour, plays{incident(moreThanDouble)}, nil, Eleven},
	{"A2 the incident, as 135 % of normal", 3 * time.Hour, plays{incident(aThird)}, nil, Eleven},
	{"A3 A1, and backends fail after 3 h", 5 * time.Hour, plays{incident(moreThanDouble), outage(1, 20*time.Minute), outage(0.5, time.Hour)}, later3, Eleven},
	{"A4 a step to four times normal", time.Hour, plays{step(3)}, nil, Eleven},
	{"A5 to twice normal, Sunday at 03:00", time.Hour, plays{step(1)}, nil, 6*24*time.Hour + 2*time.Hour},
	{"A6 slowly, to +20 % in 3 h", 4 * time.Hour, plays{ramp(0.2, 3*time.Hour)}, nil, Eleven},
	{"A7 A4, begun inside an outage of 15 min", 2 * time.Hour, plays{step(3), outage(1, 15*time.Minute)}, []time.Duration{0, -5 * time.Minute}, Eleven},
	{"A8 A1, 30 % of it pass for known", 3 * time.Hour, plays{imitating(0.3, incident(moreThanDouble))}, nil, Eleven},
}

type plays = []func(*world, time.Duration, *plan)

var later3 = []time.Duration{0, 3 * time.Hour, 200 * time.Minute}

// Run plays the row in a world that is known from a snapshot, and begins at start. It returns the state at the end of each
// tick from two hours before.
func (row *AttackRow) Run(t *testing.T, seed uint64, rate float64, snapshot []byte, start time.Time) (states []State) {
	t.Helper()
	w := newWorld(seed, rate, start.Add(-2*time.Hour), oslo)
	if err := w.Restore(w.now, snapshot); err != nil {
		t.Fatal(err)
	}
	for i, play := range row.play {
		at := start
		if row.after != nil {
			at = start.Add(row.after[i])
		}
		w.scenes = append(w.scenes, scene{at, play})
	}
	for w.now.Before(start.Add(row.lasts)) {
		states = append(states, w.tick().State)
	}
	return states
}
