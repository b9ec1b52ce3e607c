//go:build !race

package watch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// A result is what one simulated attack led to.
type result struct {
	notice   time.Duration // from the start of the attack; negative if never
	alert    time.Duration
	early    bool // an alert before the attack
	class    watch.Class
	incident incident.Incident // the one that was open at the end
	all      int               // incidents that were detected
}

// evaluate takes the states of a simulation in which the attack began at start.
func evaluate(states []watch.State, start time.Time) result {
	incidents, _ := incident.Replay(nil, 30*time.Second)
	s := result{notice: -1, alert: -1}
	for _, state := range states {
		incidents.Observe(state)
		since := state.Time.Sub(start)
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

// TestSimulationAttacks simulates attacks and prints the time until they are noticed.
func TestSimulationAttacks(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{20, 2} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			attacks(t, rate)
		})
	}
}

// attacks simulates all attacks at a site with this rate of logins a second.
func attacks(t *testing.T, rate float64) {
	const runs, learned, days = 10, 3, 21
	snapshots, then := make([][]byte, learned), time.Time{}
	for seed := range snapshots {
		snapshots[seed], then = watch.Learned(uint64(seed)+100, rate, days)
	}
	var log strings.Builder
	fmt.Fprintf(&log, "%.0f logins a second; minutes from the beginning, median / worst of %d\n%-42s %-14s %-14s %s\n",
		rate, runs, "", "notice", "alert", "class at the end, in runs")
	for _, row := range watch.AttackRows {
		var notices, alerts []time.Duration
		classes := map[watch.Class]int{}
		for run := range runs {
			start := then.Add(row.At + time.Duration(run)*97*time.Second).Truncate(watch.Tick)
			s := evaluate(row.Run(t, uint64(run), rate, snapshots[run%learned], start), start)
			notices, alerts = append(notices, s.notice), append(alerts, s.alert)
			classes[s.class]++
			check(t, &row, rate, run, s)
		}
		fmt.Fprintf(&log, "%-42s %-14s %-14s %v\n", row.Name, medianAndWorst(notices), medianAndWorst(alerts), classes)
		if rate == 20 && row.Name[:2] == "A1" && (median(notices) > 5*time.Minute || median(alerts) > 10*time.Minute) {
			t.Errorf("the incident: notice after %v, alert after %v", median(notices), median(alerts))
		}
	}
	t.Log(log.String())
}

// TestSimulationLearnedForADay simulates the incident with a watch that has learned for a single day.
func TestSimulationLearnedForADay(t *testing.T) {
	t.Parallel()
	row, times := watch.AttackRows[0], []time.Duration{}
	snapshot, _ := watch.Learned(100, 20, 1)
	for run := range 3 {
		start := watch.Monday.Add(watch.Eleven + time.Duration(run)*97*time.Second).Truncate(watch.Tick)
		s := evaluate(row.Run(t, uint64(run), 20, snapshot, start), start)
		times = append(times, s.alert)
		check(t, &row, 20, run, s)
	}
	t.Logf("%s: alert %s", row.Name, medianAndWorst(times))
	if median(times) > 12*time.Minute {
		t.Errorf("alert after %v", median(times))
	}
}

// check checks what must hold for each run.
func check(t *testing.T, row *watch.AttackRow, rate float64, run int, s result) {
	t.Helper()
	i := &s.incident
	switch {
	case s.early && rate >= 20:
		t.Errorf("%s, run %d: an alert before it began", row.Name, run)
	case s.alert < 0 || s.class != watch.ClassAttack || i.Class != watch.ClassAttack:
		t.Errorf("%s, run %d: alert %v, class %s, incident of class %s", row.Name, run, s.alert, s.class, i.Class)
	case s.all != 1:
		t.Errorf("%s, run %d: got %d incidents, want 1", row.Name, run, s.all)
	case row.Name[:2] == "A3" && !slices.ContainsFunc(i.Symptoms, func(s incident.Symptom) bool { return s.Class == watch.ClassBackendFault }):
		t.Errorf("%s, run %d: no symptom of backends: %+v", row.Name, run, i.Symptoms)
	}
}

// median returns the median of some times, which it sorts.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// medianAndWorst returns the median and the greatest of some times in minutes.
func medianAndWorst(times []time.Duration) string {
	m := median(times)
	return fmt.Sprintf("%.1f / %.1f", m.Minutes(), times[len(times)-1].Minutes())
}
