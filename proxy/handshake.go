package proxy

import (
	"net"
	"sync/atomic"
	"time"

	"postern/limiter"
)

// handshakes bounds how many TLS handshakes compute at once, so that a flood of
// them cannot take the processor from the sessions that are logged in.
type handshakes struct {
	slots   chan struct{} // one is taken by each that computes
	waiting atomic.Int64  // for a slot
	each    atomic.Int64  // nanoseconds that a slot is held, on average
}

func newHandshakes(atOnce int) *handshakes { return &handshakes{slots: make(chan struct{}, atOnce)} }

// take waits for a slot.
func (h *handshakes) take() {
	h.waiting.Add(1)
	h.slots <- struct{}{}
	h.waiting.Add(-1)
}

// give gives a slot back that was held for so long.
func (h *handshakes) give(held time.Duration) {
	each := h.each.Load()
	h.each.Store(each + (int64(held)-each)/16) // losing one of two is no loss
	<-h.slots
}

// rushMost is the wait for a slot above which no more handshakes are begun. More
// would come than can be computed, all would wait for longer and longer, and in
// the end the gate would compute for clients that have given up. So some are
// turned away at once, which costs next to nothing, and the others are served.
const rushMost = time.Second

// rush says whether no more handshakes should be begun.
func (h *handshakes) rush() bool {
	return time.Duration(h.waiting.Load()*h.each.Load()) > rushMost*time.Duration(cap(h.slots))
}

// inRush is the verdict on those who come in a rush.
var inRush = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleHandshakes}

// rushed says whether the session's handshake must not begin. Who comes from a
// source of which a login was ever accepted may always.
func (s *session) rushed() bool {
	return s.server.handshakes.rush() && !s.probe && !s.server.Limiter.KnownSource(time.Now(), s.record.Client.Addr())
}

// inTurn is a connection whose TLS handshake computes only while it holds a slot.
// One that waits for its client holds none: slow clients keep nobody out.
type inTurn struct {
	net.Conn
	handshakes *handshakes // nil when the handshake is over
	since      time.Time   // when it took the slot it holds, zero without one
}

// Read gives the slot back while it waits for the client.
func (c *inTurn) Read(p []byte) (int, error) {
	if c.handshakes == nil {
		return c.Conn.Read(p)
	}
	c.release()
	n, err := c.Conn.Read(p)
	c.handshakes.take()
	c.since = time.Now()
	return n, err
}

// done gives the slot back for good.
func (c *inTurn) done() {
	c.release()
	c.handshakes = nil
}

func (c *inTurn) release() {
	if !c.since.IsZero() {
		c.handshakes.give(time.Since(c.since))
		c.since = time.Time{}
	}
}
