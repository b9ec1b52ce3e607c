package proxy

import (
	"container/list"
	"net/netip"
	"time"

	"postern/limiter"
)

// connectionLimit is how many connections this process may have, at least 1, or 0 for any
// number. Those of siblings that are logged in count too (CountElsewhere). Each one that
// has a connection to a backend takes two descriptors and leaves one less to others.
func (s *Server) connectionLimit() int {
	limit := 0
	if s.MaxConnections > 0 {
		limit = max(1, s.MaxConnections-s.siblings.loggedIn())
	}
	if s.MaxDescriptors > 0 {
		descriptors := max(1, s.MaxDescriptors-s.backendConnections())
		if limit == 0 || descriptors < limit {
			limit = descriptors
		}
	}
	return limit
}

// full reports whether as many connections are open as there may be. s.mu must be held.
func (s *Server) full() bool {
	open := len(s.sessions) - s.evicting
	if s.MaxConnections > 0 && open+s.siblings.loggedIn() >= s.MaxConnections {
		return true
	}
	limit := s.connectionLimit()
	return limit > 0 && open >= limit
}

// backendConnections is how many connections to backends sessions have, or are about to
// have.
func (s *Server) backendConnections() int {
	n := int(s.relaying.Load())
	for _, pool := range s.Backends {
		n += int(pool.slotsTaken.Load())
	}
	return n
}

// evictFor evicts a session if that is needed for the connection to a backend that ss has,
// or is about to have, and that backendConnections counts already. Where no other session
// is before login, the connection uses descriptors that are set apart.
func (s *Server) evictFor(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.MaxDescriptors > 0 && len(s.sessions)-s.evicting+s.backendConnections() > s.MaxDescriptors {
		s.evict(ss)
	}
}

// evictScan bounds the search for a connection to close.
const evictScan = 64

// evict closes the connection other than keep that has waited longest before login, if
// possible one whose source was never accepted. It reports whether there was one. s.mu
// must be held.
func (s *Server) evict(keep *session) bool {
	var victim *session
	now := time.Now()
	for e, n := s.prelogin.Front(), 0; e != nil && n < evictScan; e, n = e.Next(), n+1 {
		ss := e.Value.(*session)
		if ss == keep {
			continue
		}
		stranger := !ss.fromKnownSource(now)
		if victim == nil || stranger {
			victim = ss
		}
		if stranger {
			break
		}
	}
	if victim == nil {
		return false
	}
	s.noteEvicted(victim)
	victim.stopNow(EndEvicted)
	return true
}

// noteEvicted notes that ss is evicted. s.mu must be held.
func (s *Server) noteEvicted(ss *session) {
	s.leavePrelogin(ss)
	ss.evicted = true
	s.evicting++
	s.countsChanged()
}

// fromKnownSource reports whether a login from the session's source was ever accepted.
func (s *session) fromKnownSource(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addressRead && s.server.Limiter.KnownSource(now, s.record.Client.Addr())
}

// preloginEntry is where a session before login is listed.
type preloginEntry struct {
	all      *list.Element
	ofSource *list.Element // nil before its client address is known
	source   netip.Prefix
}

// sources lists the sessions before login of each source, those that were accepted by the
// limiter first in front.
type sources map[netip.Prefix]*list.List

func (m sources) add(p *preloginEntry, source netip.Prefix, ss *session) {
	if m[source] == nil {
		m[source] = list.New()
	}
	p.source, p.ofSource = source, m[source].PushBack(ss)
}

func (m sources) remove(p *preloginEntry) {
	if p.ofSource == nil {
		return
	}
	l := m[p.source]
	if l.Remove(p.ofSource); l.Len() == 0 {
		delete(m, p.source)
	}
	p.ofSource = nil
}

// listSource lists ss among the sessions of its source.
func (s *Server) listSource(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.prelogin != nil { // else it is evicted already
		s.sources.add(ss.prelogin, limiter.Source(ss.record.Client.Addr()), ss)
	}
}

// unlistSource undoes listSource.
func (s *Server) unlistSource(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.prelogin != nil {
		s.sources.remove(ss.prelogin)
	}
}

// connect asks the limiter whether the source may open another connection. If the source
// has too many before login, one of these is evicted, and the limiter is asked again.
func (s *session) connect() (verdict limiter.Verdict) {
	addr := s.record.Client.Addr()
	s.record.Observed = s.server.observing.Load()
	s.connection, verdict = s.server.Limiter.Connect(time.Now(), addr)
	if verdict.Rule == limiter.RuleOpenPrelogin && !s.record.Observed && s.server.evictFromSource(addr) {
		s.connection, verdict = s.server.Limiter.Connect(time.Now(), addr)
	}
	if s.connection != nil {
		s.server.listSource(s)
	}
	return verdict
}

// evictAge is how long a connection has to log in before it may be closed for another one
// of its source.
const evictAge = 2 * time.Second

// evictFromSource closes the oldest connection before login of the source of addr that
// has no attempt under way, and reports whether there was one. It no longer counts for the
// limiter then.
//
// If the source had its newcomers refused instead, one device with as many idle
// connections as a source may have would shut out all others behind its address. Here a
// flood of connections evicts its own first, for it has most of them. Another client is
// evicted only if it does not log in within the time in which the flood opens as many
// connections as a source may have before login (LIMIT_OPEN_PRELOGIN), at the rate that
// LIMIT_CONNECT allows, and never before evictAge. What a client has sent does not matter, or the flood would send a
// byte on each of its connections; nor does how long it was idle, or the flood would send
// a command on each from time to time.
func (s *Server) evictFromSource(addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.sources[limiter.Source(addr)]
	if l == nil {
		return false
	}
	for e, n := l.Front(), 0; e != nil && n < evictScan; e, n = e.Next(), n+1 {
		victim := e.Value.(*session)
		if time.Since(victim.record.Start) < evictAge {
			return false
		}
		if victim.stopIdle(EndEvicted) {
			victim.connection.Close(time.Now())
			s.noteEvicted(victim)
			return true
		}
	}
	return false
}

// stopIdle is stopNow for a session before login without an attempt under way. It
// returns false for any other, and for one that is stopped already.
func (s *session) stopIdle(why End) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempting || s.stopped != EndClient {
		return false
	}
	s.stopped, s.immediate = why, true
	s.raw.SetDeadline(past)
	return true
}

// setAttempting notes that an attempt is under way, or is no longer. In the end of a
// shutdown a request that was complete before is still served, and the session then
// ends.
func (s *session) setAttempting(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempting = on
	switch {
	case !s.lastAttempt || s.immediate:
	case on && s.stopped == EndShutdown:
		s.stopped = EndClient
	case !on && s.stopped == EndClient:
		s.stopped = EndShutdown
	}
}
