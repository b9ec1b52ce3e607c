package proxy

import (
	"slices"

	"postern/limiter"
)

// reservePart is the part of a backend's login slots that strangers cannot have:
// one in so many. A stranger may keep a slot for as long as a backend takes to deny
// him, or for as long as he takes over a challenge; somebody known needs it for a
// moment, and should not wait for that. It is no smaller because slots may be few:
// of twenty at a backend that is worth no more, with a fifth kept one login of the
// known in a hundred found none, with a tenth one in ten.
const reservePart = 4

// applicant is an attempt that wants a login slot.
type slotRequest struct {
	priority limiter.Priority
	tried    []*backend // that it does not want again
	waiter   *waiter    // rings when it has been given one

	assigned *backend // guarded by the Backends' mu, like place
	entry    *limiter.Entry[*slotRequest]
}

// apply gives a one of the free slots, at a backend in turn. It returns nil when
// there is none: then a waits in its order, its bell will ring, and withdraw must
// be called. With no backend up, there is nothing to wait for.
func (b *Backends) requestSlot(a *slotRequest) (*backend, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.all, func(one *backend) bool { return one.up.Load() && !slices.Contains(a.tried, one) }) {
		return nil, errNoBackend
	}
	b.push(a)
	b.assignSlots()
	return a.assigned, nil
}

// withdraw ends the wait of a and returns what it was given, if anything, which
// the caller must release.
func (b *Backends) cancelRequest(a *slotRequest) *backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.assigned == nil {
		b.queue(a.priority.Known()).Remove(a.entry)
	}
	return a.assigned
}

// release gives back a slot of one, if it is one.
func (b *Backends) release(one *backend) {
	if one == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one.logins--
	b.slotsTaken.Add(-1)
	b.assignSlots()
}

// cameUp gives those who wait the slots of a backend that is up again.
func (b *Backends) backendUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assignSlots()
}

// line is where the known wait, or the strangers. b.mu must be held.
func (b *Backends) queue(known bool) *limiter.Queue[*slotRequest] {
	if known {
		return &b.known
	}
	return &b.strangers
}

// push puts a at the end of its line. b.mu must be held.
func (b *Backends) push(a *slotRequest) { a.entry = b.queue(a.priority.Known()).Push(a.priority, a) }

// serve gives out free slots, to the known first. b.mu must be held.
func (b *Backends) assignSlots() {
	for _, known := range []bool{true, false} {
		line := b.queue(known)
		var passed []*slotRequest // who wait for other backends than the free ones
		for line.Len() > 0 && b.free(known, nil) != nil {
			a, _ := line.Pop()
			one := b.free(known, a.tried)
			if one == nil {
				passed = append(passed, a)
				continue
			}
			one.logins++
			b.slotsTaken.Add(1)
			b.nextBackend++
			a.assigned = one
			a.waiter.wake()
			a.waiter.session.server.makeRoom(a.waiter.session)
		}
		for _, a := range passed {
			b.push(a)
		}
	}
}

// free returns a backend that is up, not among tried and has a free slot for the
// known, or for strangers. b.mu must be held.
func (b *Backends) free(known bool, tried []*backend) *backend {
	most := b.slots
	if !known {
		most -= b.slots / reservePart
	}
	for i := range b.all {
		one := b.all[(b.nextBackend+i)%len(b.all)]
		if one.up.Load() && one.logins < most && !slices.Contains(tried, one) {
			return one
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

// inFlight is how many logins are in flight at one.
func (b *Backends) inFlight(one *backend) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return one.logins
}
