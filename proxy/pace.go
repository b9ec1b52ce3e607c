package proxy

import (
	"cmp"
	"slices"
	"time"
)

// This file closes idle sessions before a Server ends, one after the other and evenly over
// a time. A client whose session is closed connects again at once, with a TLS handshake;
// were all closed at the end, all would come at once.
//
// Only a session without data in either direction for some time is closed, and nothing is
// sent to its client but close_notify: postern does not know whether the session is
// within a literal or another command, where a BYE would become part of the data.

// Limits on the last part of a shutdown, in which sessions are paced, and on how long a
// session must be idle to be closed in it.
const (
	maxPacing = 5 * time.Minute
	maxIdle   = time.Minute
)

// pacingStep is how often sessions are closed, and idleScan how often they are searched
// for those that are idle, at most: with 100,000 sessions that takes some 20 ms.
const (
	pacingStep = 100 * time.Millisecond
	idleScan   = time.Second
)

// pacing is when idle sessions are closed.
type pacing struct {
	start, end time.Time
	idle       time.Duration // without data, before a session counts as idle
}

// newPacing returns the pacing of a shutdown that takes total.
func newPacing(now time.Time, total time.Duration) pacing {
	part := max(0, total/5)
	end := now.Add(total)
	return pacing{end.Add(-min(maxPacing, 4*part)), end, min(maxIdle, part)}
}

// pacer closes idle sessions. After each step the number of sessions that are still to be
// closed is divided by the time that is left, so neither sessions that end by themselves
// nor those that become idle late make it close many at once.
type pacer struct {
	server  *Server
	last    time.Time     // of the last step; zero before the first
	due     float64       // how many sessions are to be closed; less than 1 after each step
	queue   []idleSession // the longest idle first
	scanned time.Time     // when queue was filled
}

// idleSession is a session that was idle at the last scan.
type idleSession struct {
	*session
	since time.Duration // since epoch
}

// step closes the sessions that are due, and returns when to call it again. It must be
// called before the pacing ends.
func (p *pacer) step(now time.Time, plan pacing) time.Time {
	if now.Before(plan.start) {
		return plan.start
	}
	open := float64(p.server.relaying.Load())
	if p.last.IsZero() {
		p.last = now
	}
	last := plan.end.Sub(now) <= pacingStep
	if left := plan.end.Add(-pacingStep).Sub(p.last); last || left <= 0 {
		p.due = open
	} else {
		p.due += open * float64(now.Sub(p.last)) / float64(left)
	}
	p.last = now
	before := now.Sub(epoch) - plan.idle
	for p.due >= 1-1e-6 && p.next(now, before, last) {
		ss := p.queue[0].session
		p.queue = p.queue[1:]
		if ss.closeIdle(before) {
			p.due--
		}
	}
	p.due -= float64(int(p.due)) // the others are in the number that is left to be closed
	return now.Add(pacingStep)
}

// next reports whether the queue holds a session, and searches for more if it is empty. A
// session that is not in it was idle for less time than those that are, so the order
// remains that of their idle time.
func (p *pacer) next(now time.Time, before time.Duration, last bool) bool {
	if len(p.queue) == 0 && (last || now.Sub(p.scanned) >= idleScan) && !p.scanned.Equal(now) {
		p.scanned = now
		p.queue = p.server.idleSessions(before)
	}
	return len(p.queue) > 0
}

// idleSessions returns the sessions without data since a time, the longest idle first.
func (s *Server) idleSessions(before time.Duration) (idle []idleSession) {
	s.mu.Lock()
	for ss := range s.sessions {
		if since, ok := ss.idleSince(); ok && since <= before {
			idle = append(idle, idleSession{ss, since})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(idle, func(a, b idleSession) int { return cmp.Compare(a.since, b.since) })
	return idle
}

// idleSince returns since when no data has moved. It returns false for a session that is
// not logged in, has data under way or ends already.
func (s *session) idleSince() (since time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relaying == nil {
		return 0, false
	}
	s.relaying.mu.Lock()
	defer s.relaying.mu.Unlock()
	return s.relaying.lastMove, s.relaying.isParked()
}

// closeIdle closes the session if no data has moved since a time, and reports whether it
// did.
func (s *session) closeIdle(before time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.immediate || s.relaying == nil || !s.relaying.abortIdle(before) {
		return false
	}
	s.stopped, s.immediate = EndShutdown, true
	return true
}

// abortIdle is abort for a relay that has moved no data since a time and has none under
// way. It returns false for any other. A direction reads only between resume and suspend,
// so nothing that was read is lost.
func (r *relay) abortIdle(before time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isParked() || r.lastMove > before {
		return false
	}
	r.abortLocked()
	return true
}

// isParked reports whether both directions are parked and neither has ended. r.mu must be
// held.
func (r *relay) isParked() bool { return r.active == 0 && r.running == 2 && !r.aborted }

// resume notes that a direction that was parked may read again.
func (r *relay) resume() {
	r.mu.Lock()
	r.active++
	r.mu.Unlock()
}

// suspend notes that a direction is going to be parked and has written all that it has
// read.
func (r *relay) suspend() {
	r.mu.Lock()
	r.active--
	r.mu.Unlock()
}
