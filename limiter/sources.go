package limiter

import "sync"

// sources are all sources that some account was accepted from, each with how many accounts have its mark. They are
// bounded as the known table is, and nobody can push another's out either.
type sources struct {
	mu sync.Mutex
	of map[uint32]accepted
}

type accepted struct {
	accounts uint32
	at       hour // when the last of them was accepted
}

// accept notes that an account was accepted from m, which may be new to that account.
func (s *sources) accept(m uint32, at hour, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of[m]
	if a.accounts == 0 || a.at.since(at) > 0 {
		a.at = at
	}
	if isNew {
		a.accounts++
	}
	if s.of == nil {
		s.of = map[uint32]accepted{}
	}
	s.of[m] = a
}

// leave notes that an account lost its mark m. Zero is none.
func (s *sources) leave(m uint32) {
	if m == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of[m]
	if a.accounts--; a.accounts == 0 {
		delete(s.of, m)
		return
	}
	s.of[m] = a
}

// has reports whether an account was accepted from m not too long ago.
func (s *sources) has(m uint32, k kept) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.of[m]
	return ok && k.fresh(a.at)
}
