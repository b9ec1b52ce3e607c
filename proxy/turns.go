package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"postern/limiter"
)

// turns calls the attempts that wait for their turn once the limiter has decided
// about them. One timer serves them all.
type turns struct {
	limiter *limiter.Limiter

	mu    sync.Mutex
	timer *time.Timer // for the next decision; nil until somebody has waited
}

// decide asks the limiter for what it can decide by now, calls whom it concerns,
// and comes back at the time of the next decision. It is to be called whenever an
// attempt begins to wait.
func (q *turns) decide() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	decided, next := q.limiter.Turn(now)
	for _, d := range decided {
		d.Who.(*summons).call(d.Verdict)
	}
	switch {
	case next.IsZero():
	case q.timer == nil:
		q.timer = time.AfterFunc(next.Sub(now), q.decide)
	default:
		q.timer.Reset(next.Sub(now))
	}
}

// summons is how an attempt that waits for its turn is told of it.
type summons struct {
	bell    *bell
	verdict limiter.Verdict // set before the bell rings
}

// call tells the attempt.
func (s *summons) call(v limiter.Verdict) {
	s.verdict = v
	s.bell.ring()
}

// decided is what the attempt was told, or a refusal if its time has passed
// without a word.
func (s *summons) decided() limiter.Verdict {
	if s.bell.hasRung() {
		return s.verdict
	}
	return limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}
}

// bell wakes a session that rests. It rings once.
type bell struct {
	session *session
	rung    atomic.Bool
}

func newBell(s *session) *bell { return &bell{session: s} }

func (b *bell) ring() {
	b.rung.Store(true)
	b.session.called(b)
}

// hasRung says whether b has rung; no bell never has.
func (b *bell) hasRung() bool { return b != nil && b.rung.Load() }

// listen makes the session wake up for b, or for no bell if that is nil.
func (s *session) listen(b *bell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bell = b
}

// called ends the session's rest if it waits for b, which has rung.
func (s *session) called(b *bell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell == b {
		s.raw.SetReadDeadline(past)
	}
}
