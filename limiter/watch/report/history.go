package report

import (
	"sync"
	"time"

	"postern/limiter/watch"
)

// historyDays is how many days a [History] keeps.
const historyDays = 35

// A History keeps the minutes and hours of 35 days, some 50 MB at most. It is filled from [watch.Watch.Tick] and, after
// a restart, from stored lines, or from what another process has exported. It is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	minutes series[watch.Minute]
	hours   series[watch.Hour]
}

// NewHistory returns an empty History.
func NewHistory() *History {
	return &History{
		minutes: series[watch.Minute]{each: time.Minute, at: map[int64]watch.Minute{}},
		hours:   series[watch.Hour]{each: time.Hour, at: map[int64]watch.Hour{}},
	}
}

// AddMinute adds a minute, or another part of one that is there. Minutes older than 35 days before the latest are deleted.
func (h *History) AddMinute(m watch.Minute) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if there, ok := h.minutes.find(m.Start); ok {
		m.Add(there)
	}
	h.minutes.put(m.Start, m)
}

// AddHour adds an hour, or another part of one that is there.
func (h *History) AddHour(r watch.Hour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if there, ok := h.hours.find(r.Start); ok {
		r = there.Merge(r)
	}
	h.hours.put(r.Start, r)
}

// Minutes returns the minutes that begin at from or later and before to. Minutes without attempts and sessions are left
// out.
func (h *History) Minutes(from, to time.Time) []watch.Minute {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.minutes.between(from, to)
}

// Hours returns the hours that overlap the time between from and to.
func (h *History) Hours(from, to time.Time) []watch.Hour {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hours.between(from.Truncate(time.Hour), to)
}

// A series keeps one value for each period of time.
type series[V any] struct {
	each   time.Duration
	at     map[int64]V // by the number of the period since 1970
	latest int64
	oldest int64 // none up to it is kept
}

// number returns the number of the period that t is in.
func (r *series[V]) number(t time.Time) int64 {
	return t.Unix() / int64(r.each/time.Second)
}

// find returns the value for t.
func (r *series[V]) find(t time.Time) (V, bool) {
	v, ok := r.at[r.number(t)]
	return v, ok
}

// put sets the value for t and deletes values that are too old. If t itself is too old it does nothing.
func (r *series[V]) put(t time.Time, v V) {
	n := r.number(t)
	if n > r.latest {
		r.latest = n
		r.deleteTo(n - int64(historyDays*24*time.Hour/r.each))
	}
	if n > r.oldest {
		r.at[n] = v
	}
}

// deleteTo deletes the values up to the period with this number.
func (r *series[V]) deleteTo(number int64) {
	if number-r.oldest > int64(len(r.at)) { // after a long gap, or the first time
		for n := range r.at {
			if n <= number {
				delete(r.at, n)
			}
		}
	} else {
		for n := r.oldest; n <= number; n++ {
			delete(r.at, n)
		}
	}
	r.oldest = max(r.oldest, number)
}

// between returns the values of periods that begin at from or later and before to.
func (r *series[V]) between(from, to time.Time) (found []V) {
	first := r.number(from.Add(r.each - 1))
	last := min(r.number(to.Add(-1)), r.latest)
	for n := max(first, r.oldest); n <= last; n++ {
		if v, ok := r.at[n]; ok {
			found = append(found, v)
		}
	}
	return found
}
