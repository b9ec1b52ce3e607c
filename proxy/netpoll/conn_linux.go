package netpoll

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
)

// conn is a TCP connection that the poller watches.
type conn struct {
	alarm
	remote netip.AddrPort
	in     half // to read
	out    half // to write

	fd       int32
	closed   bool
	nonblock bool
	short    bool  // a read may stop short of what is there: of the end, or at an urgent octet
	deaf     bool  // only its deadline wakes the sleeper
	sleeper  Waker // nil unless the connection is parked
	mu       sync.Mutex
}

// half is one direction of a conn. Its fields but the first are guarded by the
// conn's mu.
type half struct {
	call     sync.Mutex    // held in a system call: none must be made once the descriptor is another's
	ready    bool          // a call may find something to do
	deadline int64         // in nanoseconds of the clock, 0 for none
	waiter   chan struct{} // of a goroutine that waits
}

// waiters are channels to wait on, empty and with room for one.
var waiters = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// newConn has the poller watch fd, which the conn closes.
func newConn(fd int, remote netip.AddrPort) (*conn, error) {
	c := &conn{fd: int32(fd), remote: remote}
	c.place = -1
	if err := watch(c); err != nil {
		shut(fd)
		return nil, err
	}
	return c, nil
}

// Read reads what is there, and waits for it unless told not to.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := c.read(p)
		if err != ErrWouldBlock || c.nonblock {
			return n, err
		}
		c.wait(&c.in)
	}
}

// read reads what is there, or returns ErrNothing. As long as a read fills p, another
// may find more.
func (c *conn) read(p []byte) (n int, err error) {
	c.in.call.Lock()
	defer c.in.call.Unlock()
	if err := c.begin(&c.in); err != nil {
		return 0, err
	}
	n, err = read(int(c.fd), p)
	if err == ErrWouldBlock {
		return 0, err
	}
	if n == len(p) || n == 0 || c.stopsShort() {
		c.more(&c.in)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write writes all of p, and waits until the peer has made room for it.
func (c *conn) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := c.write(p[n:])
		if n += m; err == ErrWouldBlock {
			c.wait(&c.out)
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// write writes what there is room for, or returns ErrNothing.
func (c *conn) write(p []byte) (n int, err error) {
	c.out.call.Lock()
	defer c.out.call.Unlock()
	if err := c.begin(&c.out); err != nil {
		return 0, err
	}
	n, err = write(int(c.fd), p)
	if n == len(p) || err != nil && err != ErrWouldBlock {
		c.more(&c.out)
	}
	return n, err
}

// begin says whether a call makes sense. From then on h counts as not ready, unless
// more says so or the poller does meanwhile.
func (c *conn) begin(h *half) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case h.late(now()):
		return os.ErrDeadlineExceeded
	case !h.ready:
		return ErrWouldBlock
	}
	h.ready = false
	return nil
}

// more notes that another call may find something to do.
func (c *conn) more(h *half) {
	c.mu.Lock()
	h.ready = true
	c.mu.Unlock()
}

func (c *conn) stopsShort() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.short
}

// wait waits until h is ready, its deadline has passed, or c is closed.
func (c *conn) wait(h *half) {
	c.mu.Lock()
	if h.ready || c.closed || h.late(now()) {
		c.mu.Unlock()
		return
	}
	w := waiters.Get().(chan struct{})
	h.waiter = w
	c.watchDeadline(h)
	c.mu.Unlock()
	<-w
	waiters.Put(w)
}

// Park is described at Conn.
func (c *conn) Park(s Waker) bool { return c.park(s, false) }

// ParkUntilDeadline is described at Conn.
func (c *conn) ParkUntilDeadline(s Waker) bool { return c.park(s, true) }

func (c *conn) park(s Waker, deaf bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.ready && !deaf || c.closed || c.in.late(now()) {
		return false
	}
	c.sleeper, c.deaf = s, deaf
	c.watchDeadline(&c.in)
	return true
}

// SetNonblock is described at Conn.
func (c *conn) SetNonblock(on bool) { c.nonblock = on }

// rouse takes out of c whoever waits for h. c.mu must be held; what is returned
// must be called without.
func (c *conn) rouse(h *half) (s Waker) {
	if h.waiter != nil {
		h.waiter <- struct{}{} // there is room: each is told once
		h.waiter = nil
	}
	if h == &c.in {
		s, c.sleeper = c.sleeper, nil
	}
	return s
}

// notify notes what the poller has seen, and wakes whom it concerns.
func (c *conn) notify(in, out, short bool) {
	var s Waker
	c.mu.Lock()
	c.short = c.short || short
	if in {
		if c.in.ready = true; c.sleeper == nil || !c.deaf {
			s = c.rouse(&c.in)
		}
	}
	if out {
		c.out.ready = true
		c.rouse(&c.out)
	}
	c.mu.Unlock()
	if s != nil {
		s.Wake()
	}
}

// CloseWrite tells the peer that no more will come.
func (c *conn) CloseWrite() error {
	c.out.call.Lock()
	defer c.out.call.Unlock()
	if err := c.open(); err != nil {
		return err
	}
	return shutWrite(int(c.fd))
}

func (c *conn) open() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// Close wakes whoever waits, and closes the connection.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	s := c.rouse(&c.in)
	c.rouse(&c.out)
	c.mu.Unlock()
	alarms.forget(c)
	c.in.call.Lock()
	defer c.in.call.Unlock()
	c.out.call.Lock()
	defer c.out.call.Unlock()
	unwatch(c)
	shut(int(c.fd))
	if s != nil {
		s.Wake()
	}
	return nil
}

// LocalAddr is the address of this end, nil if the kernel no longer tells.
func (c *conn) LocalAddr() net.Addr {
	c.in.call.Lock()
	defer c.in.call.Unlock()
	if c.open() != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(localAddr(int(c.fd)))
}

// RemoteAddr is the address of the other end.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
