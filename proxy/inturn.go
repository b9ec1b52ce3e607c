package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net"
	"runtime"
	"time"

	"postern/proxy/socket"
)

// inTurn is a connection whose TLS handshake computes only while it holds a slot.
// One that waits for its client holds none: slow clients keep nobody out.
type inTurn struct {
	net.Conn
	raw        socket.Conn // what it reads from in the end
	handshakes *handshakes // nil when the handshake is over
	deadline   time.Time   // of the handshake
	turn       turn
}

// until is when it will have waited for a slot for too long.
func (c *inTurn) until() time.Time {
	if c.turn.rank == strangers {
		return earlier(c.deadline, time.Now().Add(rushMost))
	}
	return c.deadline
}

// Read gives the slot back if it must wait for the client.
func (c *inTurn) Read(p []byte) (int, error) {
	if c.handshakes == nil {
		return c.Conn.Read(p)
	}
	if !c.turn.since.IsZero() {
		c.raw.SetNonblock(true)
		n, err := c.Conn.Read(p)
		c.raw.SetNonblock(false)
		if err != socket.ErrNothing {
			return n, err
		}
		c.release()
	}
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.wait()
		runtime.Gosched() // as in session.secure
	}
	return n, err
}

// errRush is what a handshake ends with that has waited for a slot for too long.
var errRush = errors.New("too many handshakes")

// wait waits for a slot.
func (c *inTurn) wait() error {
	called := make(chan struct{})
	c.turn.call = func() { close(called) }
	if c.handshakes.take(&c.turn) {
		return nil
	}
	timeout := time.NewTimer(time.Until(c.until()))
	defer timeout.Stop()
	select {
	case <-called:
		return nil
	case <-timeout.C:
	}
	if c.handshakes.leave(&c.turn) {
		return errRush
	}
	return nil
}

// retryRandom is in the hello of a server that wants another ClientHello before it
// computes anything (RFC 8446, section 4.1.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// handshakeRecord is the type of a TLS record that is part of a handshake.
const handshakeRecord = 22

// Write notes that most of the handshake has been computed, if that is what p says.
func (c *inTurn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == handshakeRecord && !bytes.Contains(p, retryRandom[:]) {
		c.turn.rank = midway
	}
	return c.Conn.Write(p)
}

// done gives the slot back for good.
func (c *inTurn) done() {
	c.release()
	c.handshakes = nil
}

func (c *inTurn) release() {
	if !c.turn.since.IsZero() {
		c.handshakes.give(&c.turn)
	}
}
