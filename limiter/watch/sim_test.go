package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// oslo is where the worlds are.
const oslo = "Europe/Oslo"

// learned returns what a watch knows of a world after three weeks, or one under the race detector, and the time then: a
// Monday, 00:00 UTC.
func learned(seed uint64, rate float64) ([]byte, time.Time) {
	w, weeks := newWorld(seed, rate, monday, oslo), 3
	if underRace {
		weeks = 1
	}
	end := monday.AddDate(0, 0, 7*weeks)
	for w.now.Before(end) {
		w.tick()
	}
	return w.Snapshot(w.now), end
}

// A seen is what a run of an attack showed.
type seen struct {
	notice   time.Duration // from its beginning; negative if never
	alert    time.Duration
	early    bool // an alert before it began
	class    Class
	incident Incident // the one that was open at the end
	all      int      // incidents that people were told of
}

// attackRow is an attack.
type attackRow struct {
	name  string
	lasts time.Duration // looked at
	play  []func(*world, time.Duration, *plan)
	after []time.Duration // the attack begins that each of them does
	at    time.Duration   // from Monday 00:00 UTC
}

// eleven is Tuesday 11:00 in Oslo before the clock changes, from Monday 00:00 UTC.
const eleven = 34 * time.Hour

// attackRows are the attacks. Of an outage the first 5 min are over when the attack begins.
var attackRows = []attackRow{
	{"A1 the incident, as +135 %", 4 * time.Hour, plays{incident(moreThanDouble)}, nil, eleven},
	{"A2 the incident, as 135 % of normal", 3 * time.Hour, plays{incident(aThird)}, nil, eleven},
	{"A3 A1, and backends fail after 3 h", 5 * time.Hour, plays{incident(moreThanDouble), outage(1, 20*time.Minute), outage(0.5, time.Hour)}, later3, eleven},
	{"A4 a step to four times normal", time.Hour, plays{step(3)}, nil, eleven},
	{"A5 to twice normal, Sunday at 03:00", time.Hour, plays{step(1)}, nil, 6*24*time.Hour + 2*time.Hour},
	{"A6 slowly, to +20 % in 3 h", 4 * time.Hour, plays{ramp(0.2, 3*time.Hour)}, nil, eleven},
	{"A7 A4, begun inside an outage of 15 min", 2 * time.Hour, plays{step(3), outage(1, 15*time.Minute)}, []time.Duration{0, -5 * time.Minute}, eleven},
	{"A8 A1, 30 % of it pass for known", 3 * time.Hour, plays{imitating(0.3, incident(moreThanDouble))}, nil, eleven},
}

type plays = []func(*world, time.Duration, *plan)

var later3 = []time.Duration{0, 3 * time.Hour, 200 * time.Minute}

// run plays the row in a world that is known from a snapshot, and begins at start.
func (row *attackRow) run(t *testing.T, seed uint64, rate float64, snapshot []byte, start time.Time) seen {
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
	incidents, _ := Replay(nil, 30*time.Second)
	s := seen{notice: -1, alert: -1}
	for w.now.Before(start.Add(row.lasts)) {
		state := w.tick().State
		incidents.Observe(state)
		since := w.now.Sub(start)
		switch {
		case since <= 0:
			s.early = s.early || state.Attacked()
		case s.notice < 0 && state.Tighten:
			s.notice = since
		}
		if s.alert < 0 && since > 0 && state.Attacked() {
			s.alert = since
		}
		s.class = state.Class
	}
	s.incident, _ = incidents.Open()
	for _, i := range incidents.All() {
		if !i.Detected.IsZero() {
			s.all++
		}
	}
	return s
}

// TestAttacks plays attacks and prints how long they went unnoticed.
func TestAttacks(t *testing.T) {
	rates := []float64{20, 2}
	if underRace {
		rates = rates[:1]
	}
	for _, rate := range rates {
		runs, worlds := 10, 3
		if underRace {
			runs, worlds = 1, 1
		}
		snapshots, then := make([][]byte, worlds), time.Time{}
		for seed := range snapshots {
			snapshots[seed], then = learned(uint64(seed)+100, rate)
		}
		var log strings.Builder
		fmt.Fprintf(&log, "%.0f logins a second; minutes from the beginning, median / worst of %d\n%-42s %-14s %-14s %s\n",
			rate, runs, "", "notice", "alert", "class at the end, in runs")
		for _, row := range attackRows {
			var notices, alerts []time.Duration
			classes := map[Class]int{}
			for run := range runs {
				start := then.Add(row.at + time.Duration(run)*97*time.Second).Truncate(tick)
				s := row.run(t, uint64(run), rate, snapshots[run%worlds], start)
				notices, alerts = append(notices, s.notice), append(alerts, s.alert)
				classes[s.class]++
				row.check(t, rate, run, s)
			}
			fmt.Fprintf(&log, "%-42s %-14s %-14s %v\n", row.name, middle(notices), middle(alerts), classes)
			if rate == 20 && row.name[:2] == "A1" && (median(notices) > 5*time.Minute || median(alerts) > 10*time.Minute) {
				t.Errorf("the incident was noticed after %v and told after %v", median(notices), median(alerts))
			}
		}
		t.Log(log.String())
	}
}

// TestLearnedForADay plays the incident to a watch that knows a single day.
func TestLearnedForADay(t *testing.T) {
	row, times := attackRows[0], []time.Duration{}
	w := newWorld(100, 20, monday, oslo)
	for w.now.Before(monday.AddDate(0, 0, 1)) {
		w.tick()
	}
	snapshot := w.Snapshot(w.now)
	for run := range 3 {
		start := monday.Add(eleven + time.Duration(run)*97*time.Second).Truncate(tick)
		s := row.run(t, uint64(run), 20, snapshot, start)
		times = append(times, s.alert)
		row.check(t, 20, run, s)
	}
	t.Logf("%s: alert %s", row.name, middle(times))
	if median(times) > 12*time.Minute {
		t.Errorf("told after %v", median(times))
	}
}

// check holds one run to what must be so in all.
func (row *attackRow) check(t *testing.T, rate float64, run int, s seen) {
	t.Helper()
	i := &s.incident
	switch {
	case s.early && rate >= 20:
		t.Errorf("%s, run %d: an alert before it began", row.name, run)
	case s.alert < 0 || s.class != ClassAttack || i.Class != ClassAttack:
		t.Errorf("%s, run %d: alert %v, taken for %s, recorded as %s", row.name, run, s.alert, s.class, i.Class)
	case s.all != 1:
		t.Errorf("%s, run %d: people were told of %d incidents", row.name, run, s.all)
	case row.name[:2] == "A3" && !slices.ContainsFunc(i.Symptoms, func(s Symptom) bool { return s.Class == ClassBackendFault }):
		t.Errorf("%s, run %d: nothing came along: %+v", row.name, run, i.Symptoms)
	}
}

// median returns the median of some times, which it sorts.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// middle returns the median and the greatest of some times in minutes.
func middle(times []time.Duration) string {
	m := median(times)
	return fmt.Sprintf("%.1f / %.1f", m.Minutes(), times[len(times)-1].Minutes())
}
