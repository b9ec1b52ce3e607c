package proxy

import (
	"fmt"
	"runtime/debug"

	"postern/proxy/netpoll"
)

// room is a step of the walk. It returns the next one; none once the session has
// been parked, or is logged in, and belongs to others.
type step func() (step, error)

// walk goes from room to room. It ends in the room that returns an error, or where
// the session waits, and begins again there.
func (s *session) run() {
	defer func() {
		if fault := recover(); fault != nil {
			s.record.End = EndPanic
			s.record.Err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
			s.close()
		}
	}()
	in, err := s.next, error(nil)
	for in != nil && err == nil {
		in, err = in()
	}
	if err != nil {
		s.finish(err)
		s.close()
	}
}

// Wake walks on.
func (s *session) Wake() { s.server.workers.run(s) }

// park leaves the session until its client says something or its deadline passes,
// which next will see. Nobody waits meanwhile: the stack of a handshake does not
// stay, nor what has been read into.
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

// nap is park for one whom nothing wakes but its deadline.
func (s *session) parkUntilDeadline(next step) (step, error) {
	s.next = next
	if s.raw.ParkUntilDeadline(s) {
		return nil, nil
	}
	return next, nil
}

// await goes to next once the client has said something.
func (s *session) await(next step) (step, error) {
	s.setDeadline(s.deadline)
	s.raw.SetNonblock(true)
	if s.client.Buffered() == 0 && s.client.Fill() == netpoll.ErrWouldBlock {
		return s.park(next)
	}
	return next, nil
}
