//go:build !race

package watch

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// A quietRow is an event that looks like an attack and is none.
type quietRow struct {
	name  string
	apply func(*simulation, time.Duration, *load) // nil if it is part of every week
	day   int                                     // of the week; Monday is 0
	hour  int
	late  int           // it may begin up to so many hours later
	lasts time.Duration // the classes of this time are checked
	in    func(week int) bool
	want  Class // that must occur; empty if none must
}

func always(int) bool { return true }

// quietRows are the events of each week.
var quietRows = []quietRow{
	{"Monday morning", nil, 0, 6, 0, 6 * time.Hour, always, ""},
	{"outage of 10 min, threefold retries, all reconnect", outage(1, 10*time.Minute), 1, 8, 10, 3 * time.Hour, always, ClassBackendFault},
	{"half of the backends down for 30 min", outage(0.5, 30*time.Minute), 2, 4, 5, 3 * time.Hour, always, ClassBackendFault},
	{"restart storm, 25-fold", restart, 2, 13, 6, 3 * time.Hour, always, ClassStorm},
	{"password database broken for 20 min", database(20 * time.Minute), 3, 7, 12, 3 * time.Hour, always, ClassAuthFault},
	{"a carrier renumbers a fifth of all users", renumber, 4, 7, 10, 3 * time.Hour, always, ""},
	{"one source with 40 % of the peak", singleSource, 5, 8, 10, 3 * time.Hour, always, ClassSingleSource},
	{"programs ask 40 % more often", popular, 6, 0, 3, 24 * time.Hour, func(week int) bool { return week%4 == 2 }, ClassGrowth},
	{"holiday on a Monday", holiday, 0, 0, 0, 48 * time.Hour, func(week int) bool { return week%4 == 1 }, ""},
	{"holiday on a Thursday", holiday, 3, 0, 0, 48 * time.Hour, func(week int) bool { return week%4 == 3 }, ""},
	{"clock change and the Monday after", nil, 6, 0, 0, 48 * time.Hour, func(week int) bool { return week == 0 }, ""},
}

// quietResults sums up the results of all weeks.
type quietResults struct {
	mu      sync.Mutex
	runs    []int
	alerts  []int
	notices []int
	matched []int // weeks with the class that must occur
	weeks   int
	alerted int // weeks with an alert
	all     int // notices of all weeks
	minutes map[Class]int
}

// TestSimulationQuietWeeks simulates weeks with some fault or other event every day and no attack. There must be no alert.
func TestSimulationQuietWeeks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate         float64
		sites, weeks int
		notices      float64 // a week, at most
	}{{20, 10, 8, 1}, {2, 5, 16, 1}, {0.5, 5, 16, 1}, {200, 1, 5, 2}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			n := len(quietRows)
			results := &quietResults{runs: make([]int, n), alerts: make([]int, n), notices: make([]int, n), matched: make([]int, n), minutes: map[Class]int{}}
			t.Run("sites", func(t *testing.T) {
				for site := range c.sites {
					t.Run(fmt.Sprint(site), func(t *testing.T) {
						t.Parallel()
						results.site(t, site, c.rate, c.weeks)
					})
				}
			})
			results.check(t, c.rate, c.notices)
		})
	}
}

// site simulates the weeks of one site.
func (q *quietResults) site(t *testing.T, site int, rate float64, weeks int) {
	const learning = 3
	begin := monday // the clock changes at the end of the first week after learning
	if site%2 == 1 {
		begin = time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC)
	}
	w := newSimulation(uint64(site), rate, begin, oslo)
	for w.now.Before(begin.AddDate(0, 0, 7*learning)) {
		if s := w.tick().State; s.Attacked() {
			t.Fatalf("an alert while learning, after %v", w.now.Sub(begin))
		}
	}
	for week := range weeks {
		q.week(w, week)
	}
}

// check prints the results and checks them. Which class occurs is checked where there are enough logins to tell.
func (q *quietResults) check(t *testing.T, rate, most float64) {
	var log strings.Builder
	notices := float64(q.all) / float64(q.weeks)
	fmt.Fprintf(&log, "%v logins a second, %d weeks, alerts in %d, %.1f notices a week\n%-52s %5s %7s %7s %6s\n",
		rate, q.weeks, q.alerted, notices, "", "runs", "alerts", "notices", "class")
	for i, row := range quietRows {
		class := "-"
		if row.want != "" {
			class = fmt.Sprintf("%d %s", q.matched[i], row.want)
			if rate >= 20 && q.matched[i] != q.runs[i] {
				t.Errorf("%s: got class %[4]s in %[2]d of %[3]d", row.name, q.matched[i], q.runs[i], row.want)
			}
		}
		if q.alerts[i] > 0 {
			t.Errorf("%s: %d alerts", row.name, q.alerts[i])
		}
		fmt.Fprintf(&log, "%-52s %5d %7d %7d %s\n", row.name, q.runs[i], q.alerts[i], q.notices[i], class)
	}
	if q.alerted > 0 {
		t.Errorf("alerts in %d weeks", q.alerted)
	}
	if notices > most {
		t.Errorf("got %.1f notices a week, want at most %v", notices, most)
	}
	fmt.Fprintf(&log, "minutes by class: %v", q.minutes)
	t.Log(log.String())
}

// week simulates one week of w.
func (q *quietResults) week(w *simulation, week int) {
	begin := w.now
	starts := make([]time.Time, len(quietRows))
	classes := make([]map[Class]bool, len(quietRows))
	w.events = nil
	for i, row := range quietRows {
		if !row.in(week) {
			continue
		}
		classes[i] = map[Class]bool{}
		local := begin.In(w.location)
		starts[i] = time.Date(local.Year(), local.Month(), local.Day()+row.day, row.hour, 0, 0, 0, w.location)
		starts[i] = starts[i].Add(time.Duration(w.rand.IntN(row.late*3600+1)) * time.Second).Truncate(tick)
		if row.apply != nil {
			w.events = append(w.events, event{starts[i], row.apply})
		}
	}
	notices, tight := 0, false
	minutes := map[Class]int{}
	for w.now.Before(begin.AddDate(0, 0, 7)) {
		s := w.tick().State
		minutes[s.Class]++
		if s.Tighten && !tight {
			notices++
		}
		tight = s.Tighten
		for i := range quietRows {
			if since := w.now.Sub(starts[i]); classes[i] != nil && since > 0 && since <= quietRows[i].lasts {
				classes[i][s.Class] = true
				if s.Tighten {
					classes[i][ClassNotice] = true
				}
			}
		}
	}
	q.add(classes, notices, minutes)
}

// add adds the results of one week.
func (q *quietResults) add(classes []map[Class]bool, notices int, minutes map[Class]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.weeks++
	q.all += notices
	if minutes[ClassAttack] > 0 {
		q.alerted++
	}
	for class, ticks := range minutes {
		q.minutes[class] += ticks / 6
	}
	for i, reached := range classes {
		if reached == nil {
			continue
		}
		q.runs[i]++
		for list, hit := range map[*int]bool{
			&q.alerts[i]: reached[ClassAttack], &q.notices[i]: reached[ClassNotice], &q.matched[i]: reached[quietRows[i].want],
		} {
			if hit {
				*list++
			}
		}
	}
}
