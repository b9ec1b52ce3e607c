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
	current  uint16 // how many accounts were accepted in the period of at
	previous uint16 // and in the period before it
}

// add records that an account was accepted from the source f at the given hour. The source may be new to that account,
// and the first for that account in that period.
func (s *acceptedSources) add(f uint32, at hour, isNew, firstOfPeriod bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts == 0 {
		a = acceptedSource{at: at}
	}
	a.advance(at)
	if isNew {
		a.accounts++
	}
	if firstOfPeriod {
		switch a.at.periodsSince(at) {
		case 0:
			a.current = min(a.current, maxGrowth) + 1
		case -1:
			a.previous = min(a.previous, maxGrowth) + 1
		}
	}
	if s.entries == nil {
		s.entries = map[uint32]acceptedSource{}
	}
	s.entries[f] = a
}

// advance sets the latest time to at, unless that is earlier.
func (a *acceptedSource) advance(at hour) {
	if a.at.since(at) == 0 {
		return
	}
	switch a.at.periodsSince(at) {
	case 0:
	case 1:
		a.previous, a.current = a.current, 0
	default:
		a.previous, a.current = 0, 0
	}
	a.at = at
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

// How many times the limits of one source may become those of an address that many people share: those on denials, on new
// connections, and on open connections, each of which costs memory. A flood of new ones must not reach the limit of open
// ones before login, where the oldest is closed for the newest, faster than a client logs in.
const (
	maxGrowth        = 256
	maxConnectGrowth = 32
	maxOpenGrowth    = 16
)

// growth returns how many people use the source f, as far as the limits grow with them: how many accounts were accepted
// there in the same period, or the one before it if those were more, at least one. An account counts for at most
// sourcesKept sources at a time, and for two periods, so a stolen one adds little, and not for long.
func (s *acceptedSources) growth(f uint32, now hour) int {
	s.mu.Lock()
	a, ok := s.entries[f]
	s.mu.Unlock()
	if !ok {
		return 1
	}
	a.advance(now)
	return max(1, min(int(max(a.current, a.previous)), int(a.accounts), maxGrowth))
}
