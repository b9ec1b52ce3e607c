package limiter

import "sync"

// acceptedSources are all sources from which some account was accepted. They are the sources of the known table, so
// they are bounded as it is.
type acceptedSources struct {
	mu      sync.Mutex
	entries map[uint32]acceptedSource // by fingerprint
}

type acceptedSource struct {
	accounts  uint32 // how many accounts have its fingerprint
	at        hour   // when the latest of them was accepted
	day       uint16 // of at
	today     uint16 // how many accounts were accepted on that day
	yesterday uint16 // and on the day before
}

// add records that an account was accepted from the source f at the given hour. The source may be new to that account,
// and the first for that account on that day.
func (s *acceptedSources) add(f uint32, at hour, isNew, firstOfDay bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts == 0 || a.at.since(at) > 0 {
		a.advance(at)
	}
	if isNew {
		a.accounts++
	}
	if firstOfDay {
		switch a.day - at.day() {
		case 0:
			a.today = min(a.today, maxGrowth) + 1
		case 1:
			a.yesterday = min(a.yesterday, maxGrowth) + 1
		}
	}
	if s.entries == nil {
		s.entries = map[uint32]acceptedSource{}
	}
	s.entries[f] = a
}

// advance sets the latest time to at.
func (a *acceptedSource) advance(at hour) {
	switch at.day() - a.day {
	case 0:
	case 1:
		a.yesterday, a.today = a.today, 0
	default:
		a.yesterday, a.today = 0, 0
	}
	a.at, a.day = at, at.day()
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

// How many times the limits of one source may become those of an address that many people share: those on rates, and
// those on connections, each of which costs memory.
const (
	maxGrowth     = 256
	maxOpenGrowth = 16
)

// growth returns how many people use the source f, as far as the limits grow with them: how many accounts were accepted
// there on the same day, or the day before it if those were more, at least one. An account counts for at most
// sourcesKept sources at a time, and for one day, so a stolen one adds little, and not for long.
func (s *acceptedSources) growth(f uint32, now hour) int {
	s.mu.Lock()
	a, ok := s.entries[f]
	s.mu.Unlock()
	if !ok {
		return 1
	}
	if a.at.since(now) > 0 {
		a.advance(now)
	}
	return max(1, min(int(max(a.today, a.yesterday)), int(a.accounts), maxGrowth))
}
