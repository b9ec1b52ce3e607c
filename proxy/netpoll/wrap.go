package netpoll

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// wrapAhead is how much a parked connection that is wrapped reads at once.
const wrapAhead = 4 << 10

// Wrap makes a Conn of any connection; of one that is a Conn, itself. While it is
// parked, a goroutine waits in Read and keeps what that returns.
func Wrap(c net.Conn) Conn {
	if c, ok := c.(Conn); ok {
		return c
	}
	return &wrapped{Conn: c}
}

type wrapped struct {
	net.Conn
	nonblock bool

	mu       sync.Mutex
	closed   bool
	ahead    []byte      // read while it was parked
	err      error       // that ended reading, to be told behind ahead
	deadline time.Time   // to read
	sleeper  Waker       // nil unless it is parked
	nap      *time.Timer // to the deadline, nil unless it naps
}

// Read returns what was read while c was parked, and then what comes.
func (c *wrapped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if n, err := c.readAhead(p); n > 0 || err != nil {
		return n, err
	}
	return c.Conn.Read(p)
}

// readAhead returns nothing if the connection must be read.
func (c *wrapped) readAhead(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.late():
		return 0, os.ErrDeadlineExceeded
	case len(c.ahead) > 0:
		n = copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	case c.err == nil && c.nonblock:
		return 0, ErrWouldBlock
	}
	return 0, c.err
}

// SetNonblock is described at Conn.
func (c *wrapped) SetNonblock(on bool) { c.nonblock = on }

// CloseWrite tells the peer that no more will come, if the connection can.
func (c *wrapped) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// late says whether the time to read has passed. c.mu must be held.
func (c *wrapped) late() bool { return !c.deadline.IsZero() && !time.Now().Before(c.deadline) }

// left is how much of it is left. c.mu must be held.
func (c *wrapped) left() time.Duration {
	if c.deadline.IsZero() {
		return math.MaxInt64
	}
	return time.Until(c.deadline)
}

// Park is described at Conn.
func (c *wrapped) Park(s Waker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.ahead) > 0 || c.err != nil || c.late() {
		return false
	}
	c.sleeper = s
	go c.fill()
	return true
}

// fill reads ahead, and wakes whoever has parked c.
func (c *wrapped) fill() {
	buffer := make([]byte, wrapAhead)
	n, err := c.Conn.Read(buffer)
	c.mu.Lock()
	if n > 0 {
		c.ahead = buffer[:n]
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) { // it may have been moved on since
		c.err = err
	}
	s := c.sleeper
	c.sleeper = nil
	c.mu.Unlock()
	s.Wake()
}

// ParkUntilDeadline is described at Conn.
func (c *wrapped) ParkUntilDeadline(s Waker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.late() {
		return false
	}
	c.sleeper, c.nap = s, time.AfterFunc(c.left(), c.rouse)
	return true
}

// rouse wakes whoever naps and need not any more.
func (c *wrapped) rouse() {
	var s Waker
	c.mu.Lock()
	switch {
	case c.nap == nil:
	case c.closed || c.late():
		c.nap.Stop()
		s, c.sleeper, c.nap = c.sleeper, nil, nil
	default:
		c.nap.Reset(c.left())
	}
	c.mu.Unlock()
	if s != nil {
		s.Wake()
	}
}

// SetDeadline is that of net.Conn.
func (c *wrapped) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

// SetReadDeadline is that of net.Conn.
func (c *wrapped) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.nap != nil {
		c.nap.Reset(c.left())
	}
	return c.Conn.SetReadDeadline(t)
}

// Close wakes whoever waits, and closes the connection.
func (c *wrapped) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.Conn.Close()
	c.rouse()
	return err
}
