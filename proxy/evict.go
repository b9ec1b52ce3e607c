package proxy

import "time"

// connectionLimit is how many connections there may be, 0 for any number. Each one that
// has a connection to a backend takes two descriptors and leaves one less to others.
func (s *Server) connectionLimit() int {
	if s.MaxDescriptors == 0 {
		return s.MaxConnections
	}
	limit := max(1, s.MaxDescriptors-s.backendConnections())
	if s.MaxConnections > 0 {
		limit = min(limit, s.MaxConnections)
	}
	return limit
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
	s.leavePrelogin(victim)
	victim.evicted = true
	s.evicting++
	victim.stopNow(EndEvicted)
	return true
}

// fromKnownSource reports whether a login from the session's source was ever accepted.
func (s *session) fromKnownSource(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addressRead && s.server.Limiter.KnownSource(now, s.record.Client.Addr())
}
