package limiter

import "sync"

// acceptedSources are all sources from which some account was accepted. They are the sources of the known table, so
// they are bounded as it is.
type acceptedSources struct {
	mu      sync.Mutex
	entries map[uint32]acceptedSource // by fingerprint
}

type acceptedSource struct {
	accounts uint32 // how many accounts have its fingerprint
	at       hour   // when the latest of them was accepted
}

// add records that an account was accepted from the source f, which may be new to that account.
func (s *acceptedSources) add(f uint32, at hour, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts == 0 || a.at.since(at) > 0 {
		a.at = at
	}
	if isNew {
		a.accounts++
	}
	if s.entries == nil {
		s.entries = map[uint32]acceptedSource{}
	}
	s.entries[f] = a
}

// remove records that an account lost the fingerprint f, unless f is zero.
func (s *acceptedSources) remove(f uint32) {
	if f == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts--; a.accounts == 0 {
		delete(s.entries, f)
		return
	}
	s.entries[f] = a
}

// has reports whether a login from the source f that still counts was accepted.
func (s *acceptedSources) has(f uint32, v validity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.entries[f]
	return ok && v.covers(a.at)
}
