package proxy

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// silence is how long nothing has moved in a relay, and how long that may be.
type silence struct {
	silences *silences
	last     atomic.Int64 // when something moved, in nanoseconds since silences began

	// The rest is under the mutex of silences.
	limit time.Duration
	due   time.Duration // when to look next, since silences began
	place int           // in the queue, below 0 outside
}

// moved says that something has moved.
func (q *silence) moved() { q.last.Store(int64(q.silences.now())) }

// silences ends the relays in which nothing moves for too long. One timer serves
// all of them: what moves only leaves a note, and the relay is looked at when it
// would have been silent for too long without.
type silences struct {
	begun time.Time

	mu    sync.Mutex
	queue relayQueue
	timer *time.Timer // for the first in the queue
}

func newSilences() *silences {
	q := &silences{begun: time.Now()}
	q.timer = time.AfterFunc(time.Hour, q.look)
	q.timer.Stop()
	return q
}

func (q *silences) now() time.Duration { return time.Since(q.begun) }

// begin watches r, and has it end once nothing has moved in it for limit.
func (q *silences) begin(r *relay, limit time.Duration) {
	r.silences = q
	r.moved()
	q.mu.Lock()
	defer q.mu.Unlock()
	r.limit, r.due = limit, q.now()+limit
	heap.Push(&q.queue, r)
	q.set()
}

// shorten makes less silence enough, from now on.
func (q *silences) shorten(r *relay, limit time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.place < 0 || limit >= r.limit {
		return
	}
	r.limit, r.due = limit, q.now()+limit
	heap.Fix(&q.queue, r.place)
	q.set()
}

// over forgets r.
func (q *silences) over(r *relay) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.place >= 0 {
		heap.Remove(&q.queue, r.place)
	}
}

// look ends those that have been silent for too long.
func (q *silences) look() {
	var silent []*relay
	q.mu.Lock()
	for now := q.now(); len(q.queue) > 0 && q.queue[0].due <= now; {
		r := q.queue[0]
		if r.due = time.Duration(r.last.Load()) + r.limit; r.due > now {
			heap.Fix(&q.queue, 0)
			continue
		}
		silent = append(silent, r)
		heap.Remove(&q.queue, 0)
	}
	q.set()
	q.mu.Unlock()
	for _, r := range silent {
		r.silent()
	}
}

// set sets the timer. q.mu must be held.
func (q *silences) set() {
	if len(q.queue) > 0 {
		q.timer.Reset(q.queue[0].due - q.now())
	}
}

// relayQueue is a heap of relays by when they are due.
type relayQueue []*relay

func (q relayQueue) Len() int           { return len(q) }
func (q relayQueue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q relayQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is for package heap.
func (q *relayQueue) Push(x any) {
	r := x.(*relay)
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop is for package heap.
func (q *relayQueue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	r.place = -1
	return r
}
