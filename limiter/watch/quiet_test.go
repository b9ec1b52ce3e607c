package watch

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// A quietRow is something that looks bad and is no attack.
type quietRow struct {
	name string
	play func(*world, time.Duration, *plan) // nil where the common week has it by itself
	day  int                                // of the week, from Monday as 0
	hour int
	late int           // hours that it may begin later
	for_ time.Duration // looked at
	in   func(week int) bool
	want Class // that must be seen; empty if it needs none
}

func always(int) bool { return true }

// quietRows is what each week brings.
var quietRows = []quietRow{
	{"Monday morning", nil, 0, 6, 0, 6 * time.Hour, always, ""},
	{"outage of 10 min, threefold retries, all come back", outage(1, 10*time.Minute), 1, 8, 10, 3 * time.Hour, always, ClassBackendFault},
	{"half of the backends down for 30 min", outage(0.5, 30*time.Minute), 2, 4, 5, 3 * time.Hour, always, ClassBackendFault},
	{"restart storm, 25-fold", restart, 2, 13, 6, 3 * time.Hour, always, ClassStorm},
	{"password database broken for 20 min", database(20 * time.Minute), 3, 7, 12, 3 * time.Hour, always, ClassAuthFault},
	{"a carrier renumbers a fifth of all users", renumber, 4, 7, 10, 3 * time.Hour, always, ""},
	{"one source with 40 % of the peak", loudSource, 5, 8, 10, 3 * time.Hour, always, ClassSingleSource},
	{"programs ask 40 % more often", popular, 6, 0, 3, 24 * time.Hour, func(week int) bool { return week%4 == 2 }, ClassGrowth},
	{"holiday on a Monday", holiday, 0, 0, 0, 48 * time.Hour, func(week int) bool { return week%4 == 1 }, ""},
	{"holiday on a Thursday", holiday, 3, 0, 0, 48 * time.Hour, func(week int) bool { return week%4 == 3 }, ""},
	{"clock change and the Monday after", nil, 6, 0, 0, 48 * time.Hour, func(week int) bool { return week == 0 }, ""},
}

// A tally of what the quiet rows showed.
type quietTally struct {
	mu      sync.Mutex
	runs    []int
	alerts  []int
	notices []int
	right   []int // class seen
	weeks   int
	all     int // notices of all weeks
	minutes map[Class]int
}

// TestQuietWeeks plays weeks in which something is amiss every day, and no attack is under way. Nobody may be told of one.
func TestQuietWeeks(t *testing.T) {
	sites, learning, weeks := 10, 3, 8
	if underRace {
		sites, learning, weeks = 1, 1, 1
	}
	n := len(quietRows)
	tally := &quietTally{runs: make([]int, n), alerts: make([]int, n), notices: make([]int, n), right: make([]int, n), minutes: map[Class]int{}}
	t.Run("sites", func(t *testing.T) {
		for site := range uint64(sites) {
			t.Run(fmt.Sprint(site), func(t *testing.T) {
				t.Parallel()
				begin := monday // clocks change at the end of the first week after learning, or back
				if site%2 == 1 {
					begin = time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC)
				}
				w := newWorld(site, 20, begin, "Europe/Oslo")
				for w.now.Before(begin.AddDate(0, 0, 7*learning)) {
					if s := w.tick().State; s.Attacked() {
						t.Fatalf("an alert while it learns, %v after it began", w.now.Sub(begin))
					}
				}
				for week := range weeks {
					tally.week(w, week)
				}
			})
		}
	})
	var log strings.Builder
	fmt.Fprintf(&log, "%d weeks, %.1f notices a week\n%-52s %5s %7s %7s %6s\n", tally.weeks, float64(tally.all)/float64(tally.weeks),
		"", "runs", "alerts", "notices", "class")
	for i, row := range quietRows {
		class := "-"
		if row.want != "" {
			class = fmt.Sprintf("%d %s", tally.right[i], row.want)
			if tally.right[i] != tally.runs[i] {
				t.Errorf("%s: %d of %d were seen as %s", row.name, tally.right[i], tally.runs[i], row.want)
			}
		}
		if tally.alerts[i] > 0 {
			t.Errorf("%s: %d alerts", row.name, tally.alerts[i])
		}
		fmt.Fprintf(&log, "%-52s %5d %7d %7d %s\n", row.name, tally.runs[i], tally.alerts[i], tally.notices[i], class)
	}
	fmt.Fprintf(&log, "minutes by class: %v", tally.minutes)
	t.Log(log.String())
}

// week plays one week of w.
func (q *quietTally) week(w *world, week int) {
	begin := w.now
	starts := make([]time.Time, len(quietRows))
	classes := make([]map[Class]bool, len(quietRows))
	w.scenes = nil
	for i, row := range quietRows {
		if !row.in(week) {
			continue
		}
		classes[i] = map[Class]bool{}
		local := begin.In(w.location)
		starts[i] = time.Date(local.Year(), local.Month(), local.Day()+row.day, row.hour, 0, 0, 0, w.location)
		starts[i] = starts[i].Add(time.Duration(w.rand.IntN(row.late*3600+1)) * time.Second).Truncate(tick)
		if row.play != nil {
			w.scenes = append(w.scenes, scene{starts[i], row.play})
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
			if since := w.now.Sub(starts[i]); classes[i] != nil && since > 0 && since <= quietRows[i].for_ {
				classes[i][s.Class] = true
				if s.Tighten {
					classes[i][ClassNotice] = true
				}
			}
		}
	}
	q.add(classes, notices, minutes)
}

// add adds what one week showed.
func (q *quietTally) add(classes []map[Class]bool, notices int, minutes map[Class]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.weeks++
	q.all += notices
	for class, ticks := range minutes {
		q.minutes[class] += ticks / 6
	}
	for i, seen := range classes {
		if seen == nil {
			continue
		}
		q.runs[i]++
		for list, hit := range map[*int]bool{
			&q.alerts[i]: seen[ClassAttack], &q.notices[i]: seen[ClassNotice], &q.right[i]: seen[quietRows[i].want],
		} {
			if hit {
				*list++
			}
		}
	}
}
