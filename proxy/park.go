package proxy

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"postern/proxy/netpoll"
)

// A session that waits for its client has no goroutine, no stack and no buffers: it
// is parked, and package netpoll has its steps go on when there is something to read
// or its deadline has passed.

// step is one stage of a connection's life. It returns the next stage. It returns nil
// when the session is parked or its relay has begun: from then on the goroutine must
// not touch the session.
type step func() (step, error)

// run takes the session from step to step until one returns an error or nil.
func (s *session) run() {
	defer func() {
		if fault := recover(); fault != nil {
			s.record.End = EndPanic
			s.record.Err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
			s.close()
		}
	}()
	next, err := s.next, error(nil)
	for next != nil && err == nil {
		next, err = next()
	}
	if err != nil {
		s.finish(err)
		s.close()
	}
}

// Wake runs the session from the step that it was parked before.
func (s *session) Wake() { s.server.workers.start(s) }

// park parks the session until its client sends something or its deadline passes.
// Then, or at once if that is so already, it goes on with next.
func (s *session) park(next step) (step, error) {
	s.next = next
	if s.client != nil {
		s.client.Release()
		releaseInput(s.client.Conn)
	}
	if s.raw.Park(s) {
		return nil, nil
	}
	return next, nil
}

// parkUntilDeadline is park for a session that only its deadline can wake.
func (s *session) parkUntilDeadline(next step) (step, error) {
	s.next = next
	if s.raw.ParkUntilDeadline(s) {
		return nil, nil
	}
	return next, nil
}

// await goes on with next once the client has sent something.
func (s *session) await(next step) (step, error) {
	s.setDeadline(s.deadline)
	s.raw.SetNonblock(true)
	if s.client.Buffered() == 0 && s.client.Fill() == netpoll.ErrWouldBlock {
		return s.park(next)
	}
	return next, nil
}

// waiter is what a parked session waits for besides its client and its deadline: a
// verdict of the limiter, a login slot or a handshake slot. It wakes the session
// once, by making its read deadline pass. An external login has no session: its goroutine
// waits for a channel.
type waiter struct {
	session *session
	woken   atomic.Bool
	signal  chan struct{} // of an external login; closed by wake
}

func newWaiter(s *session) *waiter { return &waiter{session: s} }

// wake wakes the session if it still waits for w. It may be called before the session
// begins to wait.
func (w *waiter) wake() {
	w.woken.Store(true)
	if w.signal != nil {
		close(w.signal)
		return
	}
	w.session.wakeFor(w)
}

// isWoken reports whether wake was called. It is false for a nil waiter.
func (w *waiter) isWoken() bool { return w != nil && w.woken.Load() }

// waitFor makes w wake the session from now on; nothing does if w is nil.
func (s *session) waitFor(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiter = w
}

func (s *session) wakeFor(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiter == w {
		s.raw.SetReadDeadline(past)
	}
}

// workers runs sessions and directions of relays on goroutines. A few goroutines are
// kept for the next one: growing a new stack to the size that a handshake needs costs
// more than waiting.
type workers struct {
	work chan runner   // to an idle goroutine
	idle chan struct{} // counts the idle goroutines, up to its capacity
}

// runner has something to do, which is done when run returns.
type runner interface{ run() }

// maxIdleWorkers is how many goroutines are kept that have nothing to do.
const maxIdleWorkers = 8

func newWorkers() workers { return workers{make(chan runner), make(chan struct{}, maxIdleWorkers)} }

// start runs r on an idle goroutine or on a new one.
func (w workers) start(r runner) {
	select {
	case w.work <- r:
	default:
		go w.loop(r)
	}
}

// loop runs r and then whatever start passes on, unless enough goroutines are idle.
func (w workers) loop(r runner) {
	for more := true; more; {
		r.run()
		select {
		case w.idle <- struct{}{}:
		default:
			return
		}
		r, more = <-w.work
		<-w.idle
	}
}

// end ends the idle goroutines. start must not be called any more.
func (w workers) end() { close(w.work) }
