package netpoll

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// readAheadSize is how much a parked connection reads at once, in octets.
const readAheadSize = 4 << 10

// Wrap returns a Conn that uses c, or c itself if it is a Conn. While the Conn is
// parked, a goroutine calls c.Read and keeps the result for the next Read. Closing
// the Conn closes c. ErrWouldBlock does not mean that there is nothing to read: only
// Park reads.
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
	ahead    []byte      // what was read while it was parked
	err      error       // of that read, to be returned after ahead
	deadline time.Time   // of reading
	waker    Waker       // nil unless it is parked
	timer    *time.Timer // fires at the deadline, nil unless parked by ParkUntilDeadline
}

// Read implements net.Conn. It returns first what was read while c was parked.
func (c *wrapped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if n, err := c.readAhead(p); n > 0 || err != nil {
		return n, err
	}
	return c.Conn.Read(p)
}

// readAhead returns zero values if the connection itself has to be read.
func (c *wrapped) readAhead(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.expired():
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

// SetNonblock implements Conn.
func (c *wrapped) SetNonblock(on bool) { c.nonblock = on }

// CloseWrite implements Conn. It returns errors.ErrUnsupported if the connection
// cannot be half-closed.
func (c *wrapped) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// expired reports whether the read deadline has passed. c.mu must be held.
func (c *wrapped) expired() bool { return !c.deadline.IsZero() && !time.Now().Before(c.deadline) }

// remaining is the time until the read deadline. c.mu must be held.
func (c *wrapped) remaining() time.Duration {
	if c.deadline.IsZero() {
		return math.MaxInt64
	}
	return time.Until(c.deadline)
}

// Park implements Conn.
func (c *wrapped) Park(w Waker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.ahead) > 0 || c.err != nil || c.expired() {
		return false
	}
	c.waker = w
	go c.fill()
	return true
}

// fill reads ahead, which ends parking.
func (c *wrapped) fill() {
	buffer := make([]byte, readAheadSize)
	n, err := c.Conn.Read(buffer)
	c.mu.Lock()
	if n > 0 {
		c.ahead = buffer[:n]
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) { // the deadline may have been moved meanwhile
		c.err = err
	}
	w := c.waker
	c.waker = nil
	c.mu.Unlock()
	w.Wake()
}

// ParkUntilDeadline implements Conn.
func (c *wrapped) ParkUntilDeadline(w Waker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.expired() {
		return false
	}
	c.waker, c.timer = w, time.AfterFunc(c.remaining(), c.checkDeadline)
	return true
}

// checkDeadline ends ParkUntilDeadline if the deadline has passed or c is closed, and
// sets the timer again otherwise.
func (c *wrapped) checkDeadline() {
	var w Waker
	c.mu.Lock()
	switch {
	case c.timer == nil:
	case c.closed || c.expired():
		c.timer.Stop()
		w, c.waker, c.timer = c.waker, nil, nil
	default:
		c.timer.Reset(c.remaining())
	}
	c.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// SetDeadline implements net.Conn.
func (c *wrapped) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *wrapped) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.timer != nil {
		c.timer.Reset(c.remaining())
	}
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn. It interrupts Read and Write and wakes the Waker.
func (c *wrapped) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.Conn.Close()
	c.checkDeadline()
	return err
}
