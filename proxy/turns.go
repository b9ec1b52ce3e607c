package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"postern/limiter"
)

// turns calls the attempts that wait for their turn once the limiter has decided
// about them. One timer serves them all.
type dispatcher struct {
	limiter *limiter.Limiter

	mu    sync.Mutex
	timer *time.Timer // for the next decision; nil until somebody has waited
}

// decide asks the limiter for what it can decide by now, calls whom it concerns,
// and comes back at the time of the next decision. It is to be called whenever an
// attempt begins to wait.
func (q *dispatcher) dispatch() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	decided, next := q.limiter.Dispatch(now)
	for _, d := range decided {
		d.Waiter.(*turnWaiter).decide(d.Verdict)
	}
	switch {
	case next.IsZero():
	case q.timer == nil:
		q.timer = time.AfterFunc(next.Sub(now), q.dispatch)
	default:
		q.timer.Reset(next.Sub(now))
	}
}

// summons is how an attempt that waits for its turn is told of it.
type turnWaiter struct {
	waiter  *waiter
	verdict limiter.Verdict // set before the bell rings
}

// call tells the attempt.
func (s *turnWaiter) decide(v limiter.Verdict) {
	s.verdict = v
	s.waiter.wake()
}

// decided is what the attempt was told, or a refusal if its time has passed
// without a word.
func (s *turnWaiter) decided() limiter.Verdict {
	if s.waiter.isWoken() {
		return s.verdict
	}
	return limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}
}

// bell wakes a session that rests. It rings once.
type waiter struct {
	session *session
	woken   atomic.Bool
}

func newWaiter(s *session) *waiter { return &waiter{session: s} }

func (b *waiter) wake() {
	b.woken.Store(true)
	b.session.wakeFor(b)
}

// hasRung says whether b has rung; no bell never has.
func (b *waiter) isWoken() bool { return b != nil && b.woken.Load() }

// listen makes the session wake up for b, or for no bell if that is nil.
func (s *session) waitFor(b *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiter = b
}

// called ends the session's rest if it waits for b, which has rung.
func (s *session) wakeFor(b *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiter == b {
		s.raw.SetReadDeadline(past)
	}
}
