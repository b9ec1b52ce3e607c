package watch

import (
	"math"
	"testing"
	"time"
)

// fill adds the same rates in every tick of the quarter-hour that begins at t.
func fill(b *baseline, t time.Time, r rates, learn bool) {
	for i := range 90 {
		b.add(t.Add(time.Duration(i)*tick), r, learn)
	}
}

// all returns rates that are all the same.
func all(v float64) rates { return rates{v, v, v, v, v} }

// TestQuarterAt: quarters are of local time, before and after the clock changes.
func TestQuarterAt(t *testing.T) {
	w := newSimulation(0, 1, monday, oslo)
	for _, c := range []struct {
		utc     string
		quarter int
		over    float64
	}{
		{"2026-03-22T00:00:00Z", 4, 0},             // Sunday 01:00
		{"2026-03-27T08:00:00Z", 5*96 + 36, 0},     // Friday 09:00
		{"2026-03-29T00:59:50Z", 7, 890.0 / 900},   // Sunday 01:59:50, the last before
		{"2026-03-29T01:00:00Z", 12, 0},            // 03:00
		{"2026-04-03T07:07:30Z", 5*96 + 36, 0.5},   // Friday 09:07:30 in summer
		{"2026-10-25T00:30:00Z", 10, 0},            // Sunday 02:30
		{"2026-10-25T01:30:00Z", 10, 0},            // and again
		{"2026-10-31T22:59:50Z", 671, 890.0 / 900}, // Saturday 23:59:50
	} {
		at, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		if quarter, over := quarterAt(at.In(w.location)); quarter != c.quarter || math.Abs(over-c.over) > 1e-9 {
			t.Errorf("%s: %d, %v over; want %d, %v", c.utc, quarter, over, c.quarter, c.over)
		}
	}
}

// TestBaselineLearns: the rates expected after weeks with these rates at the same time.
func TestBaselineLearns(t *testing.T) {
	for _, c := range []struct {
		name  string
		weeks []float64
		want  float64
	}{
		{"the first is taken as it is", []float64{10}, 10},
		{"the second has a weight of three tenths", []float64{10, 12}, 10.6},
		{"more than x1.6 counts as that", []float64{10, 100}, 11.8},
		{"less than x0.6 counts as that", []float64{10, 0}, 8.8},
		{"training raises it by x1.18 a week", []float64{10, 1000, 1000, 1000, 1000}, 10 * math.Pow(1.18, 4)},
		{"a rate of zero can grow", []float64{0, 10}, 0.3 * weekMost * quarterFloor},
	} {
		var b baseline
		for week, v := range c.weeks {
			start := monday.AddDate(0, 0, 7*week).Add(9 * time.Hour)
			for quarter := range 3 { // a quarter is learned at the end of the next
				fill(&b, start.Add(time.Duration(quarter)*quarterTime), all(v), true)
			}
		}
		middle := monday.AddDate(0, 0, 7*len(c.weeks)).Add(9*time.Hour + quarterTime/2)
		if got, ok := b.expected(middle); !ok || math.Abs(got[ofLogins]-c.want) > 1e-9 {
			t.Errorf("%s: expects %v, %v; want %v", c.name, got[ofLogins], ok, c.want)
		}
	}
}

// TestYesterdayIsExpected: yesterday's rates are expected if they are higher, up to x1.6, and if nothing else is known.
func TestYesterdayIsExpected(t *testing.T) {
	var b baseline
	learnDay := func(day int, v float64) {
		for quarter := range 3 {
			fill(&b, monday.AddDate(0, 0, day).Add(time.Duration(quarter)*quarterTime), all(v), true)
		}
	}
	at := func(day int) float64 {
		e, ok := b.expected(monday.AddDate(0, 0, day).Add(quarterTime / 2))
		if !ok {
			return -1
		}
		return e[ofLogins]
	}
	if got := at(0); got != -1 {
		t.Errorf("expects %v with nothing learned", got)
	}
	learnDay(0, 10)
	if got := at(1); got != 10 {
		t.Errorf("the day after expects %v", got)
	}
	if got := at(2); got != -1 {
		t.Errorf("two days after expects %v", got)
	}
	learnDay(6, 14)
	if got := at(7); got != 14 {
		t.Errorf("after a day with 14 a week with 10 expects %v", got)
	}
	learnDay(13, 14) // of Sunday: 14 as before
	b.day[0] = all(100)
	if got := at(14); got != 16 {
		t.Errorf("after a day with 100 a week with 10 expects %v", got)
	}
}

// TestFrozenTicksAreNotLearned: nothing is learned from frozen ticks, nor from quarters with few other ticks.
func TestFrozenTicksAreNotLearned(t *testing.T) {
	var b baseline
	for quarter := range 3 {
		fill(&b, monday.Add(time.Duration(quarter)*quarterTime), all(50), quarter == 2)
	}
	if _, ok := b.expected(monday.AddDate(0, 0, 7).Add(quarterTime / 2)); ok || b.learned() != 0 {
		t.Errorf("learned %v", b.learned())
	}
}

// TestDayFactor: the factor follows a day with half the rates. It changes half an hour late, so not at the start of an
// attack.
func TestDayFactor(t *testing.T) {
	f := newDayFactor()
	for range 12 * 360 {
		f.add(all(5), all(10))
	}
	if got := f.apply(all(10))[ofLogins]; math.Abs(got-5) > 0.1 {
		t.Errorf("after 12 h with half: %v of 10", got)
	}
	f = newDayFactor()
	for range 12 * 360 {
		f.add(all(10), all(10))
	}
	for range 180 {
		f.add(all(1000), all(10))
	}
	if got := f.apply(all(10))[ofLogins]; math.Abs(got-10) > 0.1 {
		t.Errorf("half an hour into an attack: %v of 10", got)
	}
	for range 180 {
		f.add(all(1000), all(10))
	}
	if got := f.apply(all(10))[ofLogins]; got != 25 {
		t.Errorf("an hour into it: got %v of 10, want 25", got)
	}
}

// TestAlarm: an alarm at 0.1 with the excess of each step for some ticks.
func TestAlarm(t *testing.T) {
	a := alarm{limit: 0.1}
	now := monday
	for i, step := range []struct {
		m     float64
		sure  bool
		ticks int
		want  bool
	}{
		{0.2, true, 2, false}, // 20 s are too short
		{0.0, true, 1, false},
		{0.2, false, 100, false}, // not significant
		{0.2, true, 3, true},
		{0.07, false, 1000, true},  // not quiet
		{0.05, false, 179, true},   // almost half an hour
		{0.07, false, 1, true},     // not quiet
		{0.05, false, 179, true},   // again
		{0.05, false, 1, false},    // half an hour
		{0.2, true, 2, false},      // and again 30 s
		{0.1, true, 1, true},       // at the limit
		{-1, false, 180, false},    // below nothing
		{0.0999, true, 100, false}, // below the limit
	} {
		for range step.ticks {
			now = now.Add(tick)
			a.update(now, step.m, step.sure)
		}
		if a.on != step.want {
			t.Fatalf("step %d: %v", i, a.on)
		}
	}
}
