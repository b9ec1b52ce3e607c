package proxy

import (
	"container/list"
	"net/netip"
	"slices"

	"postern/limiter"
)

// reservedSlots is the part of a backend's login slots that strangers cannot have: one
// in so many. A stranger may hold a slot for as long as a backend delays a denial, or
// for as long as they take to answer a challenge; the known need one for a short time
// and should not wait for that. In simulations of a backend with twenty slots, one login of
// the known in a hundred found no slot with a fifth reserved, and one in ten with a
// tenth.
const reservedSlots = 4

// An exchange is a login in which the client must answer a challenge of the backend, by a
// client that is not known from its device, source or network. It holds its slot for as
// long as the client likes, up to roundTimeout, so exchanges have few slots: of each
// backend one in so many, and so many for each network in the queue or with a slot.
// Strangers who send a password at once have the rest of the strangers' slots, however
// many exchanges there are.
const (
	exchangeSlots    = 4
	networkExchanges = 4
)

// strangerSlots is the part of a backend's login slots for which strangers go first: one in
// so many. If more of the known come than a backend can serve, as when stolen accounts
// are used, strangers must not wait for all of them.
const strangerSlots = 8

// slotRequest is an attempt that wants a login slot, or has one.
type slotRequest struct {
	priority limiter.Priority
	exchange netip.Prefix // the network of an exchange; zero for any other login
	tried    []*backend   // that it does not want again
	waiter   *waiter      // woken when a slot is assigned

	assigned *backend // guarded by the pool's mu, like what follows
	entry    *limiter.Entry[*slotRequest]
	behind   *list.Element // in the queue of its network; nil outside
}

// network counts the exchanges of one network.
type network struct {
	admitted int       // that queue for a slot or have one
	waiting  list.List // of *slotRequest, behind those
}

// requestSlot assigns a free slot to r, at each backend in turn. It returns nil if none
// is free: then r is queued, its waiter is woken once a slot is assigned, and
// cancelRequest must be called. A slot must be given back by release. The error is
// errNoBackend if no backend is up.
func (b *Backends) requestSlot(r *slotRequest) (*backend, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.all, func(s *backend) bool { return s.up.Load() && !slices.Contains(r.tried, s) }) {
		return nil, errNoBackend
	}
	if b.admit(r) {
		b.push(r)
		b.assignSlots()
	}
	return r.assigned, nil
}

// cancelRequest ends the wait of r. It returns the backend at which r was assigned a
// slot, if any; the caller must release it.
func (b *Backends) cancelRequest(r *slotRequest) *backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.assigned != nil:
	case r.behind != nil:
		b.networks[r.exchange].waiting.Remove(r.behind)
		r.behind = nil
	default:
		b.queue(r).Remove(r.entry)
		b.leaveNetwork(r)
		b.assignSlots()
	}
	return r.assigned
}

// release gives back the slot of r. It does nothing if r has none.
func (b *Backends) release(r *slotRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.assigned == nil {
		return
	}
	r.assigned.logins--
	if !r.priority.Known() {
		r.assigned.strangers--
	}
	if r.exchange.IsValid() {
		r.assigned.exchanges--
	}
	r.assigned = nil
	b.slotsTaken.Add(-1)
	r.waiter.session.server.countsChanged()
	b.leaveNetwork(r)
	b.assignSlots()
}

// admit reports whether r may queue for a slot. If its network has too many exchanges,
// r waits behind them. b.mu must be held.
func (b *Backends) admit(r *slotRequest) bool {
	if !r.exchange.IsValid() {
		return true
	}
	n := b.networks[r.exchange]
	if n == nil {
		n = &network{}
		b.networks[r.exchange] = n
	}
	if n.admitted == networkExchanges {
		r.behind = n.waiting.PushBack(r)
		return false
	}
	n.admitted++
	return true
}

// leaveNetwork queues the next exchange of the network of r, which neither queues nor has
// a slot any more. b.mu must be held.
func (b *Backends) leaveNetwork(r *slotRequest) {
	if !r.exchange.IsValid() {
		return
	}
	n := b.networks[r.exchange]
	if first := n.waiting.Front(); first != nil {
		next := n.waiting.Remove(first).(*slotRequest)
		next.behind = nil
		b.push(next)
		return
	}
	if n.admitted--; n.admitted == 0 {
		delete(b.networks, r.exchange)
	}
}

// backendUp assigns the slots of a backend that is up again.
func (b *Backends) backendUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assignSlots()
}

// queue is the queue of r. b.mu must be held.
func (b *Backends) queue(r *slotRequest) *limiter.Queue[*slotRequest] {
	switch {
	case r.exchange.IsValid():
		return &b.exchanges
	case r.priority.Known():
		return &b.known
	}
	return &b.strangers
}

// push queues r. b.mu must be held.
func (b *Backends) push(r *slotRequest) { r.entry = b.queue(r).Push(r.priority, r) }

// assignSlots assigns free slots: a few to strangers, then to the known, then to other
// strangers. Exchanges and the rest of the strangers take turns. b.mu must be held.
func (b *Backends) assignSlots() {
	b.assignToStrangers(slotsTaken{b.slots, b.slots / strangerSlots, b.slots})
	b.assignTo(&b.known, slotsTaken{b.slots, b.slots, b.slots})
	b.assignToStrangers(slotsTaken{b.slots - b.slots/reservedSlots, b.slots, b.slots})
}

// assignToStrangers assigns slots to exchanges and to other strangers in turn.
func (b *Backends) assignToStrangers(below slotsTaken) {
	if b.exchangeLast {
		b.assignTo(&b.strangers, below)
	}
	few := below
	few.exchanges = max(1, b.slots/exchangeSlots)
	b.assignTo(&b.exchanges, few)
	b.assignTo(&b.strangers, below)
}

// slotsTaken is how many login slots of a backend are taken: by all logins, by those of
// strangers, and by exchanges.
type slotsTaken struct{ logins, strangers, exchanges int }

// assignTo assigns slots to those in a queue, at backends with fewer of all slots taken
// than below. b.mu must be held.
func (b *Backends) assignTo(queue *limiter.Queue[*slotRequest], below slotsTaken) {
	var passed []*slotRequest // which have tried the backends with free slots
	for queue.Len() > 0 && b.free(below, nil) != nil {
		r, _ := queue.Pop()
		s := b.free(below, r.tried)
		if s == nil {
			passed = append(passed, r)
			continue
		}
		s.logins++
		if r.exchange.IsValid() {
			s.exchanges++
		}
		if queue != &b.known {
			b.exchangeLast = r.exchange.IsValid()
		}
		if !r.priority.Known() {
			s.strangers++
		}
		b.slotsTaken.Add(1)
		b.nextBackend++
		r.assigned = s
		r.waiter.wake()
		r.waiter.session.server.countsChanged()
		r.waiter.session.server.evictFor(r.waiter.session)
	}
	for _, r := range passed {
		b.push(r)
	}
}

// free returns a backend that is up, not among tried, and has fewer of all slots taken
// than below, here and by siblings. b.mu must be held.
func (b *Backends) free(below slotsTaken, tried []*backend) *backend {
	for i := range b.all {
		s := b.all[(b.nextBackend+i)%len(b.all)]
		less := s.logins+s.elsewhere.Logins < below.logins && s.strangers+s.elsewhere.Strangers < below.strangers &&
			s.exchanges+s.elsewhere.Exchanges < below.exchanges
		if s.up.Load() && less && !slices.Contains(tried, s) {
			return s
		}
	}
	return nil
}

// Waiting is how many attempts wait for a login slot now.
func (b *Backends) Waiting() (known, strangers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	strangers = b.strangers.Len() + b.exchanges.Len()
	for _, n := range b.networks {
		strangers += n.waiting.Len()
	}
	return b.known.Len(), strangers
}

// inFlight is how many logins are in flight at s.
func (b *Backends) inFlight(s *backend) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.logins
}
