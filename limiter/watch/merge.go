package watch

import (
	"fmt"
	"time"
)

// factorAge is how long ago the time that was learned may have ended for its dayFactor to count: it says how this day
// differs from the usual.
const factorAge = 4 * time.Hour

// Merge adds what another Watch has learned, as its snapshot says, for instance from logs. If w has learned nothing yet,
// that replaces all as [Watch.Restore] does; so does what was learned of the whole site if w has learned from this gateway
// alone. Else a quarter-hour of the week is taken over if the other has learned it for more weeks than w, and so are the
// habits of accounts and the history of slow sprays as a whole. On error nothing has changed.
func (w *Watch) Merge(t time.Time, data []byte) error {
	m, s, err := readSnapshot(data)
	if err != nil {
		return fmt.Errorf("merge baselines: %w", err)
	}
	w.lock(t)
	defer w.mu.Unlock()
	learned := newDetector()
	learned.restore(m)
	if t.Unix()-learned.baseline.current.at > int64(factorAge/time.Second) {
		learned.dayFactor = newDayFactor()
	}
	if told := w.detector.told; w.detector.baseline.known == 0 || s != nil && s.whole && !w.detector.view.whole {
		w.detector = learned
		w.restoreSections(s)
		w.detector.told = max(w.detector.told, told)
		return nil
	}
	w.detector.merge(learned)
	if s != nil {
		w.mergeSections(s)
	}
	return nil
}

// mergeSections takes over what s has learned for longer than w.
func (w *Watch) mergeSections(s *sections) {
	if s.habits.Hours > int64(w.habits.hours) {
		w.habits = newHabits()
		w.habits.restore(&s.habits, s.entries)
	}
	weeks := func(each [weekHours]uint8) (sum int) {
		for _, n := range each {
			sum += int(n)
		}
		return sum
	}
	if weeks(s.spray.Weeks) > weeks(w.spray.weeks) {
		w.spray = newSlowSpray()
		w.spray.restore(&s.spray)
	}
}

// merge takes over from other what it has learned for longer than d.
func (d *detector) merge(other *detector) {
	taken := false
	for i, weeks := range other.baseline.weeks {
		if weeks > d.baseline.weeks[i] {
			d.baseline.week[i], d.baseline.weeks[i] = other.baseline.week[i], weeks
			taken = true
		}
	}
	for i, at := range other.baseline.dayTime {
		if at > d.baseline.dayTime[i] {
			d.baseline.day[i], d.baseline.dayTime[i] = other.baseline.day[i], at
		}
	}
	if !taken {
		return
	}
	if d.weekly[0] == 0 {
		d.weekly = other.weekly
	}
	d.dayFactor = newDayFactor() // it was the ratio to another baseline
	d.baseline.count()
	d.learnBusy()
}

// Learned returns the share of the week that w has learned.
func (w *Watch) Learned(t time.Time) float64 {
	w.lock(t)
	defer w.mu.Unlock()
	return w.detector.baseline.learned()
}
