// Package netpoll provides TCP connections that can wait for input without a
// goroutine.
//
// A Conn is a net.Conn with one more feature: it can be parked. A parked connection
// has no goroutine and no buffer. Its Waker is called when there is something to
// read or the read deadline has passed; the owner then continues in a goroutine of
// its choice.
//
// Mail sessions are idle most of the time. With package net each idle session keeps
// two goroutines, one for each direction, with their stacks; for 100,000 sessions
// that is most of the memory of the process. Here an idle session keeps its
// descriptor and one small struct. All deadlines share one timer, and moving a
// deadline to a later time costs no timer operation.
//
// On Linux one epoll descriptor watches all connections. Each connection is
// registered once, edge-triggered, for as long as it is open. A read or write that
// would only return EAGAIN is not made. On other systems, and for connections that
// are not TCP, Wrap provides the same interface with a goroutine for each parked
// connection.
//
// Several processes can serve one listening socket: the method File of a listener
// returns a duplicate to pass on, and FromFile serves one. What a process does with its
// listener, closing it included, leaves the socket to the others.
//
// The package stops at the byte stream: TLS, buffers and protocols belong to its
// users. It calls a Waker but starts no goroutine for it.
//
// A Conn is read by one goroutine at a time and written by one at a time. The caller
// of Accept, Dial or Wrap closes the Conn and does not use it afterwards. Close
// interrupts Read and Write, and wakes a parked connection.
package netpoll

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// Conn is a connection that can be parked.
type Conn interface {
	net.Conn
	// CloseWrite shuts down the writing side of the connection.
	CloseWrite() error
	// SetNonblock makes Read return ErrWouldBlock where it would have to wait.
	SetNonblock(on bool)
	// Park arranges one call of w.Wake when there is something to read (data, end
	// of stream or an error), the read deadline has passed, or the connection is
	// closed. It returns false, without any call of Wake, if that is the case
	// already. No Read is allowed until then.
	Park(w Waker) bool
	// ParkUntilDeadline is Park without the wake-up for something to read.
	ParkUntilDeadline(w Waker) bool
}

// Waker is notified when a parked connection needs attention.
type Waker interface {
	// Wake is called once for each time a connection was parked. It must not block.
	Wake()
}

// ErrWouldBlock is what Read returns in non-blocking mode when there is nothing to
// read yet. It is temporary, which lets a tls.Conn read again afterwards.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// keepAlive says how a peer is noticed that is gone without closing its connection.
type keepAlive struct {
	idle     time.Duration // without data in either direction, before the first probe
	interval time.Duration // between probes
	probes   int           // unanswered, before the connection ends
}

// total is how long a connection lasts whose peer is gone.
func (k keepAlive) total() time.Duration { return k.idle + time.Duration(k.probes)*k.interval }

// keepAlives is used for all connections, those of clients and those to backends: a
// peer that is gone is noticed after 7.5 minutes.
//
// A probe wakes the radio of a phone, so there is one only after five minutes without
// data, about as often as push services of phones send something, and NAT gateways
// need one about as often to keep the connection. Only a probe without an answer is
// repeated soon; those cost a phone nothing, for they do not reach it. A phone without
// reception for two minutes remains connected. Dovecot writes a line to an idle IMAP
// client every two minutes by default; there the same time counts from the first line
// that is not acknowledged.
var keepAlives = keepAlive{idle: 5 * time.Minute, interval: 30 * time.Second, probes: 5}

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
