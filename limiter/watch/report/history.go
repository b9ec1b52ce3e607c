package report

import (
	"sync"
	"time"

	"postern/limiter/watch"
)

// historyDays is how long a [History] remembers.
const historyDays = 35

// A History keeps the minutes and hours of 35 days, some 30 MB at most. It is filled with what [watch.Watch.Tick] hands out
// and, after a restart, with the lines the caller wrote. It is safe for concurrent use.
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

// AddMinute adds a minute, or another part of one that is there. What is older than 35 days before the latest is
// forgotten.
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

// Minutes returns the minutes that begin from from on and before to. Minutes in which nothing happened are left out.
func (h *History) Minutes(from, to time.Time) []watch.Minute {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.minutes.between(from, to)
}

// Hours returns the hours that overlap the time from from to to.
func (h *History) Hours(from, to time.Time) []watch.Hour {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hours.between(from.Truncate(time.Hour), to)
}

// A record keeps one value for each period of time.
type series[V any] struct {
	each   time.Duration
	at     map[int64]V // by the number of the period since 1970
	latest int64
	oldest int64 // none before it is kept
}

// number returns the number of the period that t is in.
func (r *series[V]) number(t time.Time) int64 {
	return t.Unix() / int64(r.each/time.Second)
}

// find returns what is kept for t.
func (r *series[V]) find(t time.Time) (V, bool) {
	v, ok := r.at[r.number(t)]
	return v, ok
}

// put keeps v for t, and forgets what is too old. What is too old itself is not kept.
func (r *series[V]) put(t time.Time, v V) {
	n := r.number(t)
	if n > r.latest {
		r.latest = n
		r.forget(n - int64(historyDays*24*time.Hour/r.each))
	}
	if n > r.oldest {
		r.at[n] = v
	}
}

// forget removes everything up to the period with this number.
func (r *series[V]) forget(number int64) {
	if number-r.oldest > int64(len(r.at)) { // after a long time, or the first time
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

// between returns what is kept from from on and before to.
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
