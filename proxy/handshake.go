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
	mu    sync.Mutex
	taken int // slots
	lines [ranks]list.List
	each  time.Duration // that a slot is held, on average
}

// rank is the line in which a handshake waits.
type rank int

// The ranks, the first to be served first. Whoever is midway waits for little, and
// what it has cost already would be lost. The other lines are served from their
// end: where more come than can be served, the newest is served at once and still
// there, and to serve the oldest would make all wait until they give up.
const (
	midway    rank = iota // the client has answered what was computed for it
	known                 // a login from its source was once accepted
	strangers             // all others
	ranks
)

// turn is a handshake that waits for a slot, or has one.
type turn struct {
	rank  rank
	call  func()        // tells one that waits that it has one
	place *list.Element // in line, nil outside
	since time.Time     // when it was given the slot it has, zero without one
}

// slots is how many may be taken. Where there are two processors or more, one is
// left for everything else: sessions that have to wait behind handshakes, even for
// no more than those that compute, wait for too long.
func (h *handshakes) slots() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// take takes a slot. Where none is free, t stands in line and will be called.
func (h *handshakes) take(t *turn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == 0 || h.taken < h.slots() {
		h.taken++
		t.since = time.Now()
		return true
	}
	t.place = h.lines[t.rank].PushBack(t)
	return false
}

// give gives back the slot that t has, to the next in line.
func (h *handshakes) give(t *turn) {
	now := time.Now()
	h.mu.Lock()
	h.each += (now.Sub(t.since) - h.each) / 16
	t.since = time.Time{}
	h.taken--
	var next *turn
	if h.taken < h.slots() {
		next = h.next()
	}
	if next != nil {
		h.taken++
		next.place, next.since = nil, now
	}
	h.mu.Unlock()
	if next != nil {
		next.call()
	}
}

// next takes the next out of the lines, nil if nobody waits. h.mu must be held.
func (h *handshakes) next() *turn {
	for r := range h.lines {
		line := &h.lines[r]
		first := line.Back()
		if rank(r) == midway {
			first = line.Front()
		}
		if first != nil {
			return line.Remove(first).(*turn)
		}
	}
	return nil
}

// leave takes t out of its line. It returns false if t has been given a slot.
func (h *handshakes) leave(t *turn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.place == nil {
		return false
	}
	h.lines[t.rank].Remove(t.place)
	t.place = nil
	return true
}

// rushMost is the longest that a stranger waits for a slot. Where the line is
// longer than that, no more are let into it: all would wait for longer and longer,
// and in the end the gate would compute for clients that have given up. So some
// are turned away at once, which costs next to nothing, and the others are served.
const rushMost = time.Second

// rush says whether no more strangers should stand in line.
func (h *handshakes) rush() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting := h.waiting()
	return waiting > 0 && time.Duration(waiting)*h.each > rushMost*time.Duration(h.slots())
}

// waiting is how many stand in line. h.mu must be held.
func (h *handshakes) waiting() (n int) {
	for r := range h.lines {
		n += h.lines[r].Len()
	}
	return n
}

// inRush is the verdict on those who come in a rush.
var inRush = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleHandshakes}

// rushed says whether the session's handshake must not begin.
func (s *session) rushed() bool { return s.server.handshakes.rush() && s.rank() == strangers }

// rank is the line in which the session waits for its first slot.
func (s *session) rank() rank {
	if s.probe || s.server.Limiter.KnownSource(time.Now(), s.record.Client.Addr()) {
		return known
	}
	return strangers
}
