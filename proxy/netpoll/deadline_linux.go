package netpoll

import "time"

// SetDeadline is that of net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline is that of net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.in, t) }

// SetWriteDeadline is that of net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.out, t) }

func (c *conn) setDeadline(h *half, t time.Time) error {
	var s Waker
	c.mu.Lock()
	if h.deadline = since(t); h.late(now()) {
		s = c.rouse(h)
	} else if h.waiter != nil || h == &c.in && c.sleeper != nil {
		c.watchDeadline(h)
	}
	c.mu.Unlock()
	if s != nil {
		s.Wake()
	}
	return nil
}

// watchDeadline has ring called when the deadline of h has passed, or before.
// c.mu must be held.
func (c *conn) watchDeadline(h *half) {
	if h.deadline != 0 {
		alarms.set(c, h.deadline)
	}
}

// ring wakes those whose deadline has passed, and has it called again for others.
func (c *conn) ring(now int64) {
	var s Waker
	c.mu.Lock()
	for _, h := range []*half{&c.out, &c.in} {
		switch {
		case h.late(now):
			s = c.rouse(h)
		case h.waiter != nil || h == &c.in && c.sleeper != nil:
			c.watchDeadline(h)
		}
	}
	c.mu.Unlock()
	if s != nil {
		s.Wake()
	}
}

// late says whether the deadline has passed.
func (h *half) late(now int64) bool { return h.deadline != 0 && h.deadline <= now }
