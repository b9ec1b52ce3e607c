package proxy

import (
	"context"
	"time"
)

// This file ends a Server: at once, or by a schedule. pace.go has the last part of it, in
// which idle sessions are closed one after the other.

// Grace is how long the sessions of a Server may go on when it ends.
type Grace struct {
	// Prelogin is how long clients that have not logged in may still do so. Then, or at
	// once if it is not positive, they are answered that the server shuts down.
	Prelogin time.Duration
	// Total is after how long the sessions that are left are closed, at once if it is not
	// positive.
	Total time.Duration
}

// drain is the schedule by which the sessions of a Server end.
type drain struct {
	begun        bool
	changed      chan struct{} // holds a value if the schedule has changed
	preloginEnd  time.Time
	preloginOver bool
	pacing       pacing
	cut          error // why sessions were closed that had not ended, nil if none were
}

// StopAccepting ends the accept loops and closes this process's copies of the listeners:
// a socket that another process has is served there. When it returns, no connection can
// come any more. Each that was accepted before is served, and all sessions continue.
func (s *Server) StopAccepting() {
	s.init()
	s.mu.Lock()
	s.closeListeners()
	s.mu.Unlock()
	s.accepting.Wait()
}

// closeListeners closes the listeners. s.mu must be held.
func (s *Server) closeListeners() {
	if s.mayAccept() {
		close(s.noAccept)
	}
	for ln := range s.listeners {
		ln.Close()
	}
	clear(s.listeners)
}

// Shutdown stops accepting, and returns when all sessions have ended.
//
// Clients that have not logged in may do so for g.Prelogin. Then they are answered that
// the server shuts down, but those with an attempt under way get the answer to that
// first. If g.Prelogin is not positive, attempts in the tarpit end too, and only those
// whose password is on its way to a backend are settled.
//
// Sessions that are logged in end by themselves until g.Total. In the last part of that
// time idle ones are closed one after the other, evenly: 4/5 of g.Total, at most five
// minutes. A session is idle if no data has moved in either direction for a fifth of
// g.Total, at most a minute. What is left after g.Total, or when ctx ends, is closed at
// once.
//
// Shutdown may be called again while it runs; the earliest time counts. It returns nil if
// each session has ended by itself or was closed while it was idle, else ctx's error, or
// context.DeadlineExceeded after g.Total.
func (s *Server) Shutdown(ctx context.Context, g Grace) error {
	s.StopAccepting()
	s.schedule(time.Now(), g)
	select {
	case <-s.idle:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.drain.cut
	case <-ctx.Done():
		s.cut(ctx.Err())
		<-s.idle
		return ctx.Err()
	}
}

// Close stops accepting and closes all connections, and returns when they have ended.
func (s *Server) Close() error {
	s.init()
	s.cut(nil)
	<-s.idle
	return nil
}

// cut stops accepting and closes all connections. Shutdown returns why if any of them had
// not ended.
func (s *Server) cut(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginClosing()
	for ss := range s.sessions {
		if ss.closeNow() && s.drain.cut == nil {
			s.drain.cut = why
		}
	}
}

// beginClosing notes that no session will come. s.mu must be held.
func (s *Server) beginClosing() {
	s.closeListeners()
	if !s.closing && len(s.sessions) == 0 {
		s.end()
	}
	s.closing = true
}

// end is called when no session is left and none will come.
func (s *Server) end() {
	s.workers.end()
	close(s.idle)
}

// schedule begins to end the sessions, or has them end earlier.
func (s *Server) schedule(now time.Time, g Grace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginClosing()
	d := &s.drain
	if end := now.Add(g.Prelogin); !d.begun || end.Before(d.preloginEnd) {
		d.preloginEnd = end
	}
	if p := newPacing(now, g.Total); !d.begun || p.end.Before(d.pacing.end) {
		if d.begun {
			p.start = earlier(p.start, d.pacing.start)
		}
		d.pacing = p
	}
	if g.Prelogin <= 0 {
		d.preloginOver = true
		for ss := range s.sessions {
			ss.shutdown()
		}
	}
	if !d.begun {
		d.begun = true
		go s.runDrain()
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// runDrain ends the sessions by the schedule.
func (s *Server) runDrain() {
	p := pacer{server: s}
	for {
		next := s.continueDrain(&p, time.Now())
		select {
		case <-s.idle:
			return
		case <-s.drain.changed:
		case <-time.After(time.Until(next)):
		}
	}
}

// continueDrain does what the schedule asks for at the time now, and returns when to call
// it again.
func (s *Server) continueDrain(p *pacer, now time.Time) time.Time {
	preloginEnd, pacing := s.endPrelogin(now)
	next := earlier(p.step(now, pacing), pacing.end)
	if !now.Before(pacing.end) {
		s.cut(context.DeadlineExceeded)
		return now.Add(time.Hour) // there is nothing left to do
	}
	if now.Before(preloginEnd) {
		next = earlier(next, preloginEnd)
	}
	return next
}

// endPrelogin ends the sessions before login if it is time, and returns the schedule.
func (s *Server) endPrelogin(now time.Time) (time.Time, pacing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.drain
	if !d.preloginOver && !now.Before(d.preloginEnd) {
		d.preloginOver = true
		for ss := range s.sessions {
			ss.shutdownAfterAttempt()
		}
	}
	return d.preloginEnd, d.pacing
}

// shutdown ends a session before login as soon as it waits for its client.
func (s *session) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopReading()
}

// shutdownAfterAttempt is shutdown, but an attempt that is under way is answered first.
func (s *session) shutdownAfterAttempt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastAttempt = true
	if !s.attempting {
		s.stopReading()
	}
}

// stopReading has a session before login stop when it next reads from its client. s.mu
// must be held.
func (s *session) stopReading() {
	if s.relaying == nil && s.stopped == EndClient {
		s.stopped = EndShutdown
		s.raw.SetReadDeadline(past)
	}
}

// closeNow ends the session now, wherever it is. It returns false if it was ending at
// once already.
func (s *session) closeNow() bool {
	cut := s.stopNow(EndShutdown)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backendRaw != nil {
		s.backendRaw.SetDeadline(past)
	}
	return cut
}
