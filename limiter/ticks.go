package limiter

import (
	"sync/atomic"
	"time"
)

// ticks is a time as buckets count it: nanoseconds since 24 hours before the first time the limiter was given. It uses
// the monotonic clock if the time has one, so setting the wall clock refills nothing.
type ticks int64

// maxTicks keeps the sum of ticks and any duration of a policy far from overflow.
const maxTicks = ticks(100 * 365 * 24 * time.Hour)

// epoch converts times to ticks.
type epoch struct {
	zero atomic.Pointer[time.Time] // of ticks; set by the first call
}

// ticks returns t as ticks. Times before zero count as zero.
func (o *epoch) ticks(t time.Time) ticks {
	zero := o.zero.Load()
	if zero == nil {
		zero = o.begin(t)
	}
	return min(max(ticks(t.Sub(*zero)), 0), maxTicks)
}

func (o *epoch) begin(t time.Time) *time.Time {
	t = t.Add(-24 * time.Hour)
	o.zero.CompareAndSwap(nil, &t)
	return o.zero.Load()
}

// add returns the time d after m.
func (m ticks) add(d time.Duration) ticks {
	return m + ticks(d)
}

// time returns m as a time that package rate can compare with others of m.
func (m ticks) time() time.Time {
	return time.Unix(0, int64(m))
}

// until returns the time from m to later, below zero if later is before m.
func (m ticks) until(later ticks) time.Duration {
	return time.Duration(later - m)
}

// An hour is a time as the known table counts it, on the wall clock, because the table outlives the process. It wraps
// around after seven years, which is longer than anything is known.
type hour uint16

// hourOf returns the hour of t.
func hourOf(t time.Time) hour {
	return hour(t.Unix() / 3600)
}

// since returns the hours from h to now, zero if h is in the future.
func (h hour) since(now hour) int {
	return max(int(int16(now-h)), 0)
}
