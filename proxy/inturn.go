package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net"
	"runtime"
	"time"

	"postern/proxy/netpoll"
)

// inTurn is a connection whose TLS handshake computes only while it holds a slot.
// One that waits for its client holds none: slow clients keep nobody out.
type handshakeConn struct {
	net.Conn
	raw        netpoll.Conn // what it reads from in the end
	handshakes *handshakes  // nil when the handshake is over
	deadline   time.Time    // of the handshake
	slot       handshakeSlot
}

// until is when it will have waited for a slot for too long.
func (c *handshakeConn) waitDeadline() time.Time {
	if c.slot.rank == strangers {
		return earlier(c.deadline, time.Now().Add(maxStrangerWait))
	}
	return c.deadline
}

// Read gives the slot back if it must wait for the client.
func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.handshakes == nil {
		return c.Conn.Read(p)
	}
	if !c.slot.heldSince.IsZero() {
		c.raw.SetNonblock(true)
		n, err := c.Conn.Read(p)
		c.raw.SetNonblock(false)
		if err != netpoll.ErrWouldBlock {
			return n, err
		}
		c.releaseSlot()
	}
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.waitSlot()
		runtime.Gosched() // as in session.secure
	}
	return n, err
}

// errRush is what a handshake ends with that has waited for a slot for too long.
var errHandshakesOverloaded = errors.New("too many handshakes")

// wait waits for a slot.
func (c *handshakeConn) waitSlot() error {
	called := make(chan struct{})
	c.slot.granted = func() { close(called) }
	if c.handshakes.acquire(&c.slot) {
		return nil
	}
	timeout := time.NewTimer(time.Until(c.waitDeadline()))
	defer timeout.Stop()
	select {
	case <-called:
		return nil
	case <-timeout.C:
	}
	if c.handshakes.cancel(&c.slot) {
		return errHandshakesOverloaded
	}
	return nil
}

// retryRandom is in the hello of a server that wants another ClientHello before it
// computes anything (RFC 8446, section 4.1.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// handshakeRecord is the type of a TLS record that is part of a handshake.
const handshakeRecord = 22

// Write notes that most of the handshake has been computed, if that is what p says.
func (c *handshakeConn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == handshakeRecord && !bytes.Contains(p, retryRandom[:]) {
		c.slot.rank = halfDone
	}
	return c.Conn.Write(p)
}

// done gives the slot back for good.
func (c *handshakeConn) finish() {
	c.releaseSlot()
	c.handshakes = nil
}

func (c *handshakeConn) releaseSlot() {
	if !c.slot.heldSince.IsZero() {
		c.handshakes.release(&c.slot)
	}
}
