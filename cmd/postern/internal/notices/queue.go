package notices

import (
	"sync"
	"time"

	"postern/cmd/postern/internal/notify"
)

// Bounds of the queue and of one request.
const (
	queueMax = 10_000
	batchMax = 100
)

// noticeMaxAge is how old a notice may be when it is delivered. Later it would only confuse.
const noticeMaxAge = 24 * time.Hour

// Stats are counts since the process began.
type Stats struct {
	Made      map[notify.NoticeKind]int // notices that were found
	Dropped   int                       // of these, how many were lost: the queue was full, or they got too old
	Queued    int                       // how many are not delivered yet
	Delivered int                       // requests that were answered with success
	Failed    int                       // other requests
}

// A queue has the notices that are not delivered.
type queue struct {
	mu      sync.Mutex
	notices []notify.Notice // the oldest first
	batch   notify.NoticeBatch
	lost    int // since the last delivery
	made    map[notify.NoticeKind]int
	stats   Stats

	added chan struct{} // receives when there are some
}

// newQueue returns an empty queue.
func newQueue() queue {
	return queue{made: map[notify.NoticeKind]int{}, added: make(chan struct{}, 1)}
}

// add adds a notice. If the queue is full, the new notice is lost: the older ones say more
// about how an incident began.
func (q *queue) add(n notify.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.made[n.Kind]++
	if len(q.notices) >= queueMax {
		q.lose(1)
		return
	}
	q.notices = append(q.notices, n)
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// lose counts lost notices. q must be locked.
func (q *queue) lose(n int) {
	q.lost += n
	q.stats.Dropped += n
}

// take returns what is to be delivered at time t: the batch that could not be delivered
// before, or the next one. ok is false if there is nothing.
func (q *queue) take(t time.Time, gateway string) (b notify.NoticeBatch, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	expired := 0
	for expired < len(q.notices) && t.Sub(q.notices[expired].Time) > noticeMaxAge {
		expired++
	}
	if expired > 0 {
		q.lose(expired)
		q.notices, q.batch = q.notices[expired:], notify.NoticeBatch{}
	}
	if len(q.notices) == 0 {
		return b, false
	}
	if q.batch.ID == "" {
		q.batch = notify.NoticeBatch{ID: newID(), Gateway: gateway, Dropped: q.lost, Notices: q.notices[:min(batchMax, len(q.notices))]}
	}
	return q.batch, true
}

// delivered records the result of a delivery of b, which take has returned.
func (q *queue) delivered(b notify.NoticeBatch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.stats.Failed++
		return
	}
	q.stats.Delivered++
	q.notices, q.batch = q.notices[len(b.Notices):], notify.NoticeBatch{}
	q.lost -= b.Dropped
}

// all returns the notices that are not delivered.
func (q *queue) all() []notify.Notice {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.notices[:len(q.notices):len(q.notices)]
}

// restore adds notices from before a restart.
func (q *queue) restore(notices []notify.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notices = append(q.notices, notices...)
}

// forget removes the first n notices, because another process has them.
func (q *queue) forget(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notices, q.batch = q.notices[min(n, len(q.notices)):], notify.NoticeBatch{}
}

// Stats returns the counts.
func (m *Manager) Stats() Stats {
	q := &m.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Queued, s.Made = len(q.notices), map[notify.NoticeKind]int{}
	for kind, n := range q.made {
		s.Made[kind] = n
	}
	return s
}
