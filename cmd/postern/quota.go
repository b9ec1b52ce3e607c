package main

import (
	"sync"
	"time"
)

// quota lets the first limit lines of every second pass and counts the rest, so
// that a flood of refusals does not become a flood of log lines.
type quota struct {
	limit int

	mu     sync.Mutex
	second int64  // the second being counted, Unix time
	used   int    // lines passed in it
	missed uint64 // lines refused since the last report
	total  uint64 // lines refused ever
}

// take reports whether a line may be written at time t.
func (q *quota) take(t time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := t.Unix(); s != q.second {
		q.second, q.used = s, 0
	}
	if q.used >= q.limit {
		q.missed++
		q.total++
		return false
	}
	q.used++
	return true
}

// report returns how many lines were refused since it was last called.
func (q *quota) report() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.missed
	q.missed = 0
	return n
}

// refused returns how many lines were refused ever.
func (q *quota) refused() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
