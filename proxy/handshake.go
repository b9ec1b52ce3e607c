package proxy

import "net"

// inTurn is a connection whose TLS handshake computes only while it holds one of
// a few slots, so that a flood of handshakes cannot take the processor from the
// sessions that are logged in. A handshake that waits for its client holds none:
// slow clients keep nobody out.
type inTurn struct {
	net.Conn
	slots   chan struct{}
	holding bool
	over    bool
}

// Read gives the slot back while it waits for the client.
func (c *inTurn) Read(p []byte) (int, error) {
	if c.over {
		return c.Conn.Read(p)
	}
	c.release()
	n, err := c.Conn.Read(p)
	c.slots <- struct{}{}
	c.holding = true
	return n, err
}

// done gives the slot back for good.
func (c *inTurn) done() {
	c.release()
	c.over = true
}

func (c *inTurn) release() {
	if c.holding {
		c.holding = false
		<-c.slots
	}
}
