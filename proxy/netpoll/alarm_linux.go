package netpoll

import (
	"container/heap"
	"sync"
	"time"
)

// begun is when the clock of this package began.
var begun = time.Now()

// now is the time in nanoseconds of the clock.
func now() int64 { return int64(time.Since(begun)) }

// since is t in nanoseconds of the clock, below 0 for a time before it began, and
// 0 for no time.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	if d := int64(t.Sub(begun)); d != 0 {
		return d
	}
	return 1
}

// alarm is when a connection wants to be looked at. Its fields are guarded by the
// mu of alarms.
type alarm struct {
	due   int64
	place int // in the queue, below 0 outside
}

// alarms look at the connections whose deadline has passed. One timer serves all
// of them, and a deadline that is moved on costs nothing: the connection is looked
// at when it would have been due, and then sees that it is not.
var alarms = &alarmClock{}

type alarmClock struct {
	mu    sync.Mutex
	queue alarmQueue
	timer *time.Timer // for the first in the queue; nil before there was one
	due   int64       // when it goes off
}

// set has c looked at at due, or before.
func (a *alarmClock) set(c *conn, due int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case c.place < 0:
		c.due = due
		heap.Push(&a.queue, c)
	case due < c.due:
		c.due = due
		heap.Fix(&a.queue, c.place)
	default:
		return
	}
	a.wind()
}

// forget drops c.
func (a *alarmClock) forget(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.place >= 0 {
		heap.Remove(&a.queue, c.place)
	}
}

// wind sets the timer, unless it goes off early enough. a.mu must be held.
func (a *alarmClock) wind() {
	if len(a.queue) == 0 {
		return
	}
	first := a.queue[0].due
	switch {
	case a.timer == nil:
		a.timer = time.AfterFunc(time.Duration(first-now()), a.look)
	case a.due != 0 && a.due <= first:
		return
	default:
		a.timer.Reset(time.Duration(first - now()))
	}
	a.due = first
}

// look looks at those that are due.
func (a *alarmClock) look() {
	var late []*conn
	a.mu.Lock()
	a.due = 0
	for t := now(); len(a.queue) > 0 && a.queue[0].due <= t; {
		late = append(late, heap.Pop(&a.queue).(*conn))
	}
	a.wind()
	a.mu.Unlock()
	for _, c := range late {
		c.ring(now())
	}
}

// alarmQueue is a heap of connections by when they are due.
type alarmQueue []*conn

func (q alarmQueue) Len() int           { return len(q) }
func (q alarmQueue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q alarmQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is for package heap.
func (q *alarmQueue) Push(x any) {
	c := x.(*conn)
	c.place = len(*q)
	*q = append(*q, c)
}

// Pop is for package heap.
func (q *alarmQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	c.place = -1
	return c
}
