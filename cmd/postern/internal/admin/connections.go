package admin

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// connsMax is how many connections there are at most: more than streams, and fewer than
// the file descriptors that MAX_CONNECTIONS leaves for other things than mail.
const connsMax = streamsMax + 16

// connections are those that were accepted and are open. If there are too many, the one
// that has waited longest for a request is closed, or else the newest: clients that send
// nothing must not use up the file descriptors of mail.
type connections struct {
	open sync.WaitGroup // no more once Serve has returned

	mu  sync.Mutex
	all map[net.Conn]time.Time // since when each waits for a request; zero: it does not
}

// newConnections returns none.
func newConnections() *connections { return &connections{all: map[net.Conn]time.Time{}} }

// count is the ConnState of an http.Server. Each connection is new before Serve can return.
func (s *connections) count(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open.Add(1)
		s.all[c] = time.Now()
		if len(s.all) > connsMax {
			s.longestWaiting().Close()
		}
	case http.StateActive:
		s.all[c] = time.Time{}
	case http.StateIdle:
		s.all[c] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(s.all, c)
		s.open.Done()
	}
}

// longestWaiting returns the connection that has waited longest for a request, of which
// there is one, and no longer counts it. s.mu must be held.
func (s *connections) longestWaiting() (longest net.Conn) {
	for c, since := range s.all {
		if !since.IsZero() && (longest == nil || since.Before(s.all[longest])) {
			longest = c
		}
	}
	delete(s.all, longest)
	return longest
}
