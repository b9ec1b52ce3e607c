package proxy

import (
	"container/list"
	"runtime"
	"sync"
	"time"

	"postern/limiter"
)

// handshakes bounds how many TLS handshakes compute at once, so that a flood of
// them cannot take the processors from the sessions that are logged in. Those that
// must wait for a slot stand in lines, which are served in their order.
type handshakes struct {
	mu       sync.Mutex
	taken    int // slots
	queues   [ranks]list.List
	meanHold time.Duration // that a slot is held, on average
}

// rank is the line in which a handshake waits.
type rank int

// The ranks, the first to be served first. Whoever is midway waits for little, and
// what it has cost already would be lost. The other lines are served from their
// end: where more come than can be served, the newest is served at once and still
// there, and to serve the oldest would make all wait until they give up.
const (
	halfDone  rank = iota // the client has answered what was computed for it
	known                 // a login from its source was once accepted
	strangers             // all others
	ranks
)

// turn is a handshake that waits for a slot, or has one.
type handshakeSlot struct {
	rank      rank
	granted   func()        // tells one that waits that it has one
	element   *list.Element // in line, nil outside
	heldSince time.Time     // when it was given the slot it has, zero without one
}

// slots is how many may be taken. Where there are two processors or more, one is
// left for everything else: sessions that have to wait behind handshakes, even for
// no more than those that compute, wait for too long.
func (h *handshakes) slots() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// take takes a slot. Where none is free, t stands in line and will be called.
func (h *handshakes) acquire(t *handshakeSlot) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == 0 || h.taken < h.slots() {
		h.taken++
		t.heldSince = time.Now()
		return true
	}
	t.element = h.queues[t.rank].PushBack(t)
	return false
}

// give gives back the slot that t has, to the next in line.
func (h *handshakes) release(t *handshakeSlot) {
	now := time.Now()
	h.mu.Lock()
	h.meanHold += (now.Sub(t.heldSince) - h.meanHold) / 16
	t.heldSince = time.Time{}
	h.taken--
	var next *handshakeSlot
	if h.taken < h.slots() {
		next = h.next()
	}
	if next != nil {
		h.taken++
		next.element, next.heldSince = nil, now
	}
	h.mu.Unlock()
	if next != nil {
		next.granted()
	}
}

// next takes the next out of the lines, nil if nobody waits. h.mu must be held.
func (h *handshakes) next() *handshakeSlot {
	for r := range h.queues {
		line := &h.queues[r]
		first := line.Back()
		if rank(r) == halfDone {
			first = line.Front()
		}
		if first != nil {
			return line.Remove(first).(*handshakeSlot)
		}
	}
	return nil
}

// leave takes t out of its line. It returns false if t has been given a slot.
func (h *handshakes) cancel(t *handshakeSlot) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.element == nil {
		return false
	}
	h.queues[t.rank].Remove(t.element)
	t.element = nil
	return true
}

// rushMost is the longest that a stranger waits for a slot. Where the line is
// longer than that, no more are let into it: all would wait for longer and longer,
// and in the end the gate would compute for clients that have given up. So some
// are turned away at once, which costs next to nothing, and the others are served.
const maxStrangerWait = time.Second

// rush says whether no more strangers should stand in line.
func (h *handshakes) overloaded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting := h.waiting()
	return waiting > 0 && time.Duration(waiting)*h.meanHold > maxStrangerWait*time.Duration(h.slots())
}

// waiting is how many stand in line. h.mu must be held.
func (h *handshakes) waiting() (n int) {
	for r := range h.queues {
		n += h.queues[r].Len()
	}
	return n
}

// inRush is the verdict on those who come in a rush.
var overloadVerdict = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleHandshakes}

// rushed says whether the session's handshake must not begin.
func (s *session) handshakesOverloaded() bool {
	return s.server.handshakes.overloaded() && s.rank() == strangers
}

// rank is the line in which the session waits for its first slot.
func (s *session) rank() rank {
	if s.probe || s.server.Limiter.KnownSource(time.Now(), s.record.Client.Addr()) {
		return known
	}
	return strangers
}
