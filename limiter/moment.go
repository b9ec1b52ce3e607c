package limiter

import (
	"sync/atomic"
	"time"
)

// A moment is a time as buckets count it: nanoseconds since a day before the limiter was first told the time. It is
// taken from the monotonic clock where a time has one, so setting the wall clock refills nothing.
type ticks int64

// lifetime keeps the sum of a moment and anything a policy may ask for far from overflow.
const lifetime = ticks(100 * 365 * 24 * time.Hour)

// origin turns times into moments.
type origin struct {
	first atomic.Pointer[time.Time]
}

// moment returns when t is. Times before the first day count as its beginning.
func (o *origin) ticks(t time.Time) ticks {
	first := o.first.Load()
	if first == nil {
		first = o.begin(t)
	}
	return min(max(ticks(t.Sub(*first)), 0), lifetime)
}

func (o *origin) begin(t time.Time) *time.Time {
	t = t.Add(-24 * time.Hour)
	o.first.CompareAndSwap(nil, &t)
	return o.first.Load()
}

// add returns the moment d after m.
func (m ticks) add(d time.Duration) ticks {
	return m + ticks(d)
}

// until returns how long it is from m to later, below zero if later is before it.
func (m ticks) until(later ticks) time.Duration {
	return time.Duration(later - m)
}

// An hour is a time as the known table counts it, on the wall clock, because it must outlive the process. It wraps
// around after seven years, which nothing known is kept for.
type hour uint16

// hourOf returns the hour of t.
func hourOf(t time.Time) hour {
	return hour(t.Unix() / 3600)
}

// since returns the hours from h to now, zero if h is yet to come.
func (h hour) since(now hour) int {
	return max(int(int16(now-h)), 0)
}
