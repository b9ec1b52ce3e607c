package proxy

import (
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

// slotRequest is an attempt that wants a login slot.
type slotRequest struct {
	priority limiter.Priority
	tried    []*backend // that it does not want again
	waiter   *waiter    // woken when a slot is assigned

	assigned *backend // guarded by the pool's mu, like entry
	entry    *limiter.Entry[*slotRequest]
}

// requestSlot assigns a free slot to r, at each backend in turn. It returns nil if none
// is free: then r is queued, its waiter is woken once a slot is assigned, and
// cancelRequest must be called. The error is errNoBackend if no backend is up.
func (b *Backends) requestSlot(r *slotRequest) (*backend, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.all, func(s *backend) bool { return s.up.Load() && !slices.Contains(r.tried, s) }) {
		return nil, errNoBackend
	}
	b.push(r)
	b.assignSlots()
	return r.assigned, nil
}

// cancelRequest ends the wait of r. It returns the backend at which r was assigned a
// slot, if any; the caller must release it.
func (b *Backends) cancelRequest(r *slotRequest) *backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.assigned == nil {
		b.queue(r.priority.Known()).Remove(r.entry)
	}
	return r.assigned
}

// release gives back a slot of s. It does nothing if s is nil.
func (b *Backends) release(s *backend) {
	if s == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.logins--
	b.slotsTaken.Add(-1)
	b.assignSlots()
}

// backendUp assigns the slots of a backend that is up again.
func (b *Backends) backendUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assignSlots()
}

// queue is the queue of the known, or of strangers. b.mu must be held.
func (b *Backends) queue(known bool) *limiter.Queue[*slotRequest] {
	if known {
		return &b.known
	}
	return &b.strangers
}

// push queues r. b.mu must be held.
func (b *Backends) push(r *slotRequest) { r.entry = b.queue(r.priority.Known()).Push(r.priority, r) }

// assignSlots assigns free slots, to the known first. b.mu must be held.
func (b *Backends) assignSlots() {
	for _, known := range []bool{true, false} {
		queue := b.queue(known)
		var passed []*slotRequest // which have tried the backends with free slots
		for queue.Len() > 0 && b.free(known, nil) != nil {
			r, _ := queue.Pop()
			s := b.free(known, r.tried)
			if s == nil {
				passed = append(passed, r)
				continue
			}
			s.logins++
			b.slotsTaken.Add(1)
			b.nextBackend++
			r.assigned = s
			r.waiter.wake()
			r.waiter.session.server.evictFor(r.waiter.session)
		}
		for _, r := range passed {
			b.push(r)
		}
	}
}

// free returns a backend that is up, not among tried, and has a free slot for the known
// or for strangers. b.mu must be held.
func (b *Backends) free(known bool, tried []*backend) *backend {
	limit := b.slots
	if !known {
		limit -= b.slots / reservedSlots
	}
	for i := range b.all {
		s := b.all[(b.nextBackend+i)%len(b.all)]
		if s.up.Load() && s.logins < limit && !slices.Contains(tried, s) {
			return s
		}
	}
	return nil
}

// Waiting is how many attempts wait for a login slot now.
func (b *Backends) Waiting() (known, strangers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known.Len(), b.strangers.Len()
}

// inFlight is how many logins are in flight at s.
func (b *Backends) inFlight(s *backend) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.logins
}
