package netpoll

import (
	"container/heap"
	"sync"
	"time"
)

// epoch is the zero of the times in this package, which are nanoseconds of the
// monotonic clock.
var epoch = time.Now()

// now is the current time in nanoseconds since epoch.
func now() int64 { return int64(time.Since(epoch)) }

// sinceEpoch converts t to nanoseconds since epoch, which are negative for a time
// before it. The zero time, which means no deadline, becomes 0.
func sinceEpoch(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	if d := int64(t.Sub(epoch)); d != 0 {
		return d
	}
	return 1
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.in, t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.out, t) }

func (c *conn) setDeadline(d *direction, t time.Time) error {
	var w Waker
	c.mu.Lock()
	if d.deadline = sinceEpoch(t); d.expired(now()) {
		w = c.release(d)
	} else if d.blocked != nil || d == &c.in && c.waker != nil {
		c.schedule(d)
	}
	c.mu.Unlock()
	if w != nil {
		w.Wake()
	}
	return nil
}

// schedule arranges a call of checkDeadlines at the deadline of d or earlier. c.mu
// must be held.
func (c *conn) schedule(d *direction) {
	if d.deadline != 0 {
		deadlines.add(c, d.deadline)
	}
}

// checkDeadlines wakes what has reached its deadline, and schedules the next check
// for what has not.
func (c *conn) checkDeadlines(now int64) {
	var w Waker
	c.mu.Lock()
	for _, d := range []*direction{&c.out, &c.in} {
		switch {
		case d.expired(now):
			w = c.release(d)
		case d.blocked != nil || d == &c.in && c.waker != nil:
			c.schedule(d)
		}
	}
	c.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// expired reports whether the deadline has passed.
func (d *direction) expired(now int64) bool { return d.deadline != 0 && d.deadline <= now }

// scheduled is the entry of a connection in the deadline heap. The mu of deadlines
// guards its fields.
type scheduled struct {
	due   int64
	index int // in the heap, -1 outside
}

// deadlines calls checkDeadlines of each connection when a deadline may have passed.
// One timer serves all of them. An entry keeps its place when its deadline moves
// to a later time: the connection is checked at the earlier time and scheduled
// again.
var deadlines = &deadlineTimer{}

type deadlineTimer struct {
	mu    sync.Mutex
	heap  deadlineHeap
	timer *time.Timer // for the first of the heap; nil until the first add
	due   int64       // when the timer fires, 0 if it is stopped
}

// add schedules a check of c at due or earlier.
func (t *deadlineTimer) add(c *conn, due int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case c.index < 0:
		c.due = due
		heap.Push(&t.heap, c)
	case due < c.due:
		c.due = due
		heap.Fix(&t.heap, c.index)
	default:
		return
	}
	t.reset()
}

// remove drops the entry of c, if there is one.
func (t *deadlineTimer) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.index >= 0 {
		heap.Remove(&t.heap, c.index)
	}
}

// reset sets the timer for the first entry, unless it fires earlier anyway. t.mu
// must be held.
func (t *deadlineTimer) reset() {
	if len(t.heap) == 0 {
		return
	}
	first := t.heap[0].due
	switch {
	case t.timer == nil:
		t.timer = time.AfterFunc(time.Duration(first-now()), t.fire)
	case t.due != 0 && t.due <= first:
		return
	default:
		t.timer.Reset(time.Duration(first - now()))
	}
	t.due = first
}

// fire checks the connections that are due.
func (t *deadlineTimer) fire() {
	var due []*conn
	t.mu.Lock()
	t.due = 0
	for now := now(); len(t.heap) > 0 && t.heap[0].due <= now; {
		due = append(due, heap.Pop(&t.heap).(*conn))
	}
	t.reset()
	t.mu.Unlock()
	for _, c := range due {
		c.checkDeadlines(now())
	}
}

// deadlineHeap implements heap.Interface, the earliest entry first.
type deadlineHeap []*conn

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *deadlineHeap) Push(x any) {
	c := x.(*conn)
	c.index = len(*h)
	*h = append(*h, c)
}

// Pop implements heap.Interface.
func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.index = -1
	return c
}
