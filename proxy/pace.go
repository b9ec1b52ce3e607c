package proxy

import (
	"cmp"
	"maps"
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

// pacingStep is how often sessions are closed at most.
const pacingStep = 100 * time.Millisecond

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

// pacer closes idle sessions. After each closing the time that is left is divided by the
// number of sessions that are left, so neither sessions that end by themselves nor those
// that become idle late make it close many at once.
type pacer struct {
	server  *Server
	last    time.Time     // when a session was closed, or could have been; zero at first
	queue   []idleSession // the longest idle first
	scanned time.Time     // when queue was filled
}

// idleSession is a session that was idle at the last scan.
type idleSession struct {
	*session
	since time.Duration // since epoch
}

// step closes the sessions that are due, and returns when to call it again. At the end of
// the pacing all that are idle are due.
func (p *pacer) step(now time.Time, plan pacing) time.Time {
	if now.Before(plan.start) {
		return plan.start
	}
	if p.last.IsZero() {
		p.last = now
	}
	for open := p.server.relaying.Load(); open > 0; {
		due := p.last.Add(plan.end.Sub(p.last) / time.Duration(open))
		if due.After(now) {
			return now.Add(max(pacingStep, due.Sub(now)))
		}
		if !p.next(now, plan) {
			break
		}
		ss := p.queue[0].session
		p.queue = p.queue[1:]
		if ss.closeIdle(plan.before(now)) {
			p.last = due
			open--
		}
	}
	p.last = now
	return now.Add(pacingStep)
}

// scansPerIdle is how often all sessions are searched for idle ones, at most, in the time
// after which one counts as idle. A search of 100,000 takes some 0.1 s.
const scansPerIdle = 12

// next reports whether the queue holds a session, and searches for more if it is empty. A
// session that is not in it was idle for less time than those that are, so the order
// remains that of their idle time.
func (p *pacer) next(now time.Time, plan pacing) bool {
	often := max(1, plan.idle/scansPerIdle)
	if !now.Before(plan.end) {
		often = 1 // the last time
	}
	if len(p.queue) == 0 && now.Sub(p.scanned) >= often {
		p.scanned = now
		p.queue = p.server.idleSessions(plan.before(now))
	}
	return len(p.queue) > 0
}

// before is when data last moved in a session that counts as idle from the time now on.
func (plan pacing) before(now time.Time) time.Duration { return now.Sub(epoch) - plan.idle }

// idleSessions returns the sessions without data since a time, the longest idle first.
func (s *Server) idleSessions(before time.Duration) (idle []idleSession) {
	s.mu.Lock()
	all := slices.AppendSeq(make([]*session, 0, len(s.sessions)), maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, ss := range all {
		if since, ok := ss.idleSince(); ok && since <= before {
			idle = append(idle, idleSession{ss, since})
		}
	}
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
	return s.relaying.lastMove, s.relaying.isSuspended()
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
// way. It returns false for any other. As a direction reads only between resume and
// suspend, nothing that was read is lost.
func (r *relay) abortIdle(before time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isSuspended() || r.lastMove > before {
		return false
	}
	r.abortLocked()
	return true
}

// isSuspended reports whether both directions are suspended and neither has ended. r.mu
// must be held.
func (r *relay) isSuspended() bool { return r.reading == 0 && r.running == 2 && !r.aborted }

// The bits of relay.reading.
const (
	upBit = 1 << iota
	downBit
)

// bit is the bit of d in relay.reading.
func (d *direction) bit() uint8 {
	if d == &d.relay.up {
		return upBit
	}
	return downBit
}

// resume notes that d may read from now on.
func (r *relay) resume(d *direction) {
	r.mu.Lock()
	r.reading |= d.bit()
	r.mu.Unlock()
}

// suspend notes that d does not read until resume, and has written all that it has read.
func (r *relay) suspend(d *direction) {
	r.mu.Lock()
	r.reading &^= d.bit()
	r.mu.Unlock()
}
