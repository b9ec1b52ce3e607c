package proxy

import "time"

// most is how many connections there may be, 0 for any number. Each that has a
// connection to a backend leaves room for one less.
func (s *Server) connectionLimit() int {
	if s.MaxDescriptors == 0 {
		return s.MaxConnections
	}
	most := max(1, s.MaxDescriptors-s.backendConnections())
	if s.MaxConnections > 0 {
		most = min(most, s.MaxConnections)
	}
	return most
}

// behind is how many connections to backends sessions have, or are about to have.
func (s *Server) backendConnections() int {
	n := int(s.relaying.Load())
	for _, house := range s.Backends {
		n += int(house.slotsTaken.Load())
	}
	return n
}

// makeRoom makes room for the connection to a backend that ss has, or is about to
// have, and that is counted already. Where nobody else is left before login, it
// takes what is set apart.
func (s *Server) makeRoom(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.MaxDescriptors > 0 && len(s.sessions)-s.evicting+s.backendConnections() > s.MaxDescriptors {
		s.evict(ss)
	}
}

// evictLook bounds the search for who is to make room.
const evictScan = 64

// evict closes the connection that has waited longest before login and is not but,
// if possible one whose source was never accepted, and says whether there was one.
// s.mu must be held.
func (s *Server) evict(but *session) bool {
	var victim *session
	now := time.Now()
	for e, n := s.prelogin.Front(), 0; e != nil && n < evictScan; e, n = e.Next(), n+1 {
		ss := e.Value.(*session)
		if ss == but {
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
	victim.evict()
	return true
}
