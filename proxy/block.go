package proxy

import (
	"maps"
	"net/netip"
	"slices"
)

// CloseFrom closes all connections whose client address, or that of its forwarder, matches,
// before and after login, and returns how many there were. Their Record.End is EndBlocked.
// It returns before they have ended.
//
// A client before login gets no answer. A password that is on its way to a backend is
// settled by the backend's answer, which the client does not get. Sessions that are logged
// in end with close_notify in TLS. Connections of health checks have no client and are
// never closed.
//
// The limiter must refuse these addresses already when it is called, or connections that
// come meanwhile remain open.
func (s *Server) CloseFrom(match func(netip.Addr) bool) (n int) {
	s.init()
	s.mu.Lock()
	all := slices.AppendSeq(make([]*session, 0, len(s.sessions)), maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, ss := range all {
		if ss.block(match) {
			n++
		}
	}
	return n
}

// block ends the session if its client address matches, and reports whether it did. One
// that is ending at once already is left alone.
func (s *session) block(match func(netip.Addr) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.addressRead || s.immediate || !match(s.record.Client.Addr()) && !match(s.record.Forwarder.Addr()) {
		return false
	}
	return s.stopLocked(EndBlocked)
}
