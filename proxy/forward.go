package proxy

import (
	"net/netip"
	"slices"
	"time"

	"postern/proxy/dialogue"
)

// This file lets a forwarder, such as webmail or a proxy, name the client that it connects
// for. From then on, that client's address counts as the one that connected. A forwarder is
// trusted as much as a load balancer that sends PROXY headers: it can name any address.

// forwarding is what a session knows about its forwarder.
type forwarding struct {
	peer    bool // the client connects from a ForwardedFrom network
	unnamed bool // it may still name its client, and the rules about connections have not been applied
	named   bool // it has named one, valid or not, and may not name another
}

// ForwardedCounts is how often a client was named on a connection.
type ForwardedCounts struct {
	Taken   int // the client is the one that was named; 1 at most
	Ignored int // not by a forwarder, for the second time, or after an attempt to log in
	Invalid int // no address of a client
}

// maxUnnamed is how many connections of forwarders are exempt from the rules about connections
// until they name their client. There are more only if a forwarder does not work as it
// should. These count as the forwarder's own until they name a client.
const maxUnnamed = 1000

// beginForwarding reports whether the rules about connections wait for the session to name a
// client. It must be called when the peer's address is known. A forwarder that is blocked is
// refused at once.
func (s *session) beginForwarding() bool {
	peer := s.record.Client.Addr()
	if s.forward.peer = contains(s.server.ForwardedFrom, peer); !s.forward.peer || s.overLimit {
		return false
	}
	s.mu.Lock()
	s.addressRead = true // before Blocked, for CloseFrom
	s.mu.Unlock()
	if s.server.Limiter.Blocked(peer) {
		return false
	}
	if s.forward.unnamed = s.server.unnamed.Add(1) <= maxUnnamed; !s.forward.unnamed {
		s.server.unnamed.Add(-1)
	}
	return s.forward.unnamed
}

// endUnnamed notes that the session does not wait to name a client, or no longer.
func (s *session) endUnnamed() {
	if s.forward.unnamed {
		s.forward.unnamed = false
		s.server.unnamed.Add(-1)
	}
}

// forwarded takes the client that the peer names, and applies the rules about connections to
// that client. It returns how the session ends if they refuse it. Only the first client that
// is named counts, and only before the first attempt to log in: the outcome of an attempt
// belongs to one client.
func (s *session) forwarded(f dialogue.Forwarded) error {
	switch {
	case !s.forward.peer || s.forward.named || f.Late || s.record.Attempts > 0:
		s.record.Forwarded.Ignored++
		return nil
	case !s.server.isClient(f.Client.Addr()):
		s.forward.named = true
		s.record.Forwarded.Invalid++
		return nil
	}
	s.forward.named = true
	s.record.Forwarded.Taken++
	s.endUnnamed()
	if s.connection != nil {
		s.server.unlistSource(s)
		s.connection.Close(time.Now())
		s.connection = nil
	}
	s.mu.Lock()
	s.record.Forwarder, s.record.Client = s.record.Client, f.Client
	s.mu.Unlock()
	s.record.ForwarderSession = f.Session
	if err := s.connectVerdict(); err != nil {
		return err
	}
	s.record.Step = StepDialogue
	return nil
}

// isClient reports whether addr can be the address of a client of a forwarder. Private
// addresses can, for a site's webmail serves its own network as well. Those of forwarders
// and load balancers cannot: they have clients themselves.
func (s *Server) isClient(addr netip.Addr) bool {
	return addr.IsValid() && addr.Zone() == "" && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		!addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast() &&
		!contains(s.ForwardedFrom, addr) && !contains(s.ProxyFrom, addr)
}

// contains reports whether addr is in one of networks.
func contains(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
