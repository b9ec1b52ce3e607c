package admin

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"postern/limiter"
)

// connsMax is how many connections there are at most: more than streams, and fewer than
// the file descriptors that MAX_CONNECTIONS leaves for other things than mail.
const connsMax = streamsMax + 16

// connections are those that were accepted and are open. If there are too many, one of the
// source with most is closed: the one that has waited longest for a request, or else the
// newest. So clients that send nothing use up neither the file descriptors of mail, nor
// the connections of operators elsewhere.
type connections struct {
	max  int
	open sync.WaitGroup // no more once Serve has returned

	mu     sync.Mutex
	all    map[net.Conn]*connection
	number int // of the next one
}

// connection is one of connections.
type connection struct {
	source  netip.Prefix // of the client; zero for a Unix socket
	number  int
	waiting time.Time // since when it waits for a request; zero: it does not
}

// newConnections returns an empty set for at most this many connections.
func newConnections(most int) *connections {
	return &connections{max: most, all: map[net.Conn]*connection{}}
}

// count is the ConnState of an http.Server. Each connection is new before Serve can return.
func (s *connections) count(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open.Add(1)
		s.add(c)
		if len(s.all) > s.max {
			s.excess().Close()
		}
	case http.StateActive:
		s.wait(c, time.Time{})
	case http.StateIdle:
		s.wait(c, time.Now())
	case http.StateClosed, http.StateHijacked:
		delete(s.all, c)
		s.open.Done()
	}
}

// add adds a new connection. s.mu must be held.
func (s *connections) add(c net.Conn) {
	added := &connection{number: s.number, waiting: time.Now()}
	if from, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		added.source = limiter.Source(from.Addr())
	}
	s.number++
	s.all[c] = added
}

// wait sets since when a connection waits, unless it was closed here. s.mu must be held.
func (s *connections) wait(c net.Conn, since time.Time) {
	if counted := s.all[c]; counted != nil {
		counted.waiting = since
	}
}

// excess returns the connection that is one too many, and no longer counts it. s.mu must
// be held.
func (s *connections) excess() (worst net.Conn) {
	most := map[netip.Prefix]int{}
	for _, c := range s.all {
		most[c.source]++
	}
	for c, candidate := range s.all {
		if worst == nil || isWorse(candidate, s.all[worst], most) {
			worst = c
		}
	}
	delete(s.all, worst)
	return worst
}

// isWorse reports whether a is closed rather than b. most is how many each source has.
func isWorse(a, b *connection, most map[netip.Prefix]int) bool {
	switch {
	case most[a.source] != most[b.source]:
		return most[a.source] > most[b.source]
	case a.waiting.IsZero() != b.waiting.IsZero():
		return b.waiting.IsZero()
	case a.waiting.IsZero():
		return a.number > b.number
	}
	return a.waiting.Before(b.waiting)
}
