package proxy

import (
	"sync/atomic"
)

// Siblings are processes of the same gateway: an upgrade starts the next, and the former
// one serves its sessions until they end. They exchange their Counts, so that limits hold
// for all of them together.

// Counts is what a process has of that which is limited for the whole gateway.
type Counts struct {
	Connections int                   // open ones
	Prelogin    int                   // of these, by clients that have not logged in
	Slots       map[string]SlotCounts // login slots in use, by protocol, space and address of the backend; none is zero
}

// SlotCounts is how many login slots of a backend are in use.
type SlotCounts struct {
	Logins    int // all
	Strangers int // of these, by strangers
	Exchanges int // of these, by clients that must answer a challenge
}

// Add adds what another process has. c.Slots must not be nil.
func (c *Counts) Add(other Counts) {
	c.Connections += other.Connections
	c.Prelogin += other.Prelogin
	for backend, n := range other.Slots {
		s := c.Slots[backend]
		c.Slots[backend] = SlotCounts{s.Logins + n.Logins, s.Strangers + n.Strangers, s.Exchanges + n.Exchanges}
	}
}

// siblings is what a Server knows of its siblings.
type siblings struct {
	connections atomic.Int64 // that they have open
	prelogin    atomic.Int64 // of these, before login
	notify      atomic.Bool  // changes of the Server's own Counts are reported
	changed     chan struct{}
}

// loggedIn is how many connections siblings have that are not before login.
func (s *siblings) loggedIn() int { return int(s.connections.Load() - s.prelogin.Load()) }

// slotKey is the key of a backend in Counts.
func slotKey(protocol, addr string) string { return protocol + " " + addr }

// Counts returns what this process has.
func (s *Server) Counts() Counts {
	s.init()
	s.mu.Lock()
	c := Counts{Connections: len(s.sessions) - s.evicting, Prelogin: s.prelogin.Len(), Slots: map[string]SlotCounts{}}
	s.mu.Unlock()
	for protocol, pool := range s.Backends {
		pool.addCounts(protocol, c.Slots)
	}
	return c
}

// addCounts adds the login slots in use to counts.
func (b *Backends) addCounts(protocol string, counts map[string]SlotCounts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.all {
		if s.logins > 0 {
			counts[slotKey(protocol, s.addr)] = SlotCounts{s.logins, s.strangers, s.exchanges}
		}
	}
}

// Changed returns a channel that holds a value after each change of Counts. There is one
// for all callers.
func (s *Server) Changed() <-chan struct{} {
	s.init()
	s.siblings.notify.Store(true)
	return s.siblings.changed
}

// countsChanged notes a change of Counts.
func (s *Server) countsChanged() {
	if !s.siblings.notify.Load() {
		return
	}
	select {
	case s.siblings.changed <- struct{}{}:
	default:
	}
}

// CountElsewhere sets what all siblings have together. It counts towards MaxConnections
// and towards the login slots of each backend. Attempts that wait for slots get those
// that have become free.
//
// Clients before login are evicted for new ones of a sibling, as within one process: the
// process that accepts does not count those of siblings towards MaxConnections, and a
// Server that has stopped accepting evicts its own.
func (s *Server) CountElsewhere(c Counts) {
	s.init()
	s.siblings.notify.Store(true)
	s.siblings.connections.Store(int64(c.Connections))
	s.siblings.prelogin.Store(int64(c.Prelogin))
	s.evictForSiblings(c.Connections)
	for protocol, pool := range s.Backends {
		pool.countElsewhere(protocol, c.Slots)
	}
}

// countElsewhere sets the login slots that siblings have in use, and assigns those that
// have become free.
func (b *Backends) countElsewhere(protocol string, counts map[string]SlotCounts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.all {
		s.elsewhere = counts[slotKey(protocol, s.addr)]
	}
	b.assignSlots()
}

// evictForSiblings evicts sessions if this process accepts no more and, with those that
// siblings have open, there are more than MaxConnections.
func (s *Server) evictForSiblings(elsewhere int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.MaxConnections <= 0 || s.mayAccept() {
		return
	}
	for len(s.sessions)-s.evicting+elsewhere > s.MaxConnections && s.evict(nil) {
	}
}
