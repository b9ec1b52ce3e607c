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
	scheduled
	remote netip.AddrPort
	in     direction
	out    direction

	fd       int32
	closed   bool
	nonblock bool
	partial  bool  // a read may return less than there is: at the end, or before an urgent octet
	timeOnly bool  // parked by ParkUntilDeadline
	waker    Waker // nil unless the connection is parked
	mu       sync.Mutex
}

// direction is the reading or the writing side of a conn. The conn's mu guards all
// fields but the first.
type direction struct {
	call     sync.Mutex    // held during a system call, so that Close cannot free the descriptor meanwhile
	ready    bool          // a system call may make progress
	deadline int64         // see sinceEpoch; 0 for none
	blocked  chan struct{} // releases the goroutine that waits, nil if there is none
}

// releases is a pool of channels for direction.blocked, empty and with a capacity of
// one.
var releases = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// newConn registers fd with the poller. The conn closes fd, and newConn does when it
// fails.
func newConn(fd int, remote netip.AddrPort) (*conn, error) {
	c := &conn{fd: int32(fd), remote: remote}
	c.index = -1
	if err := watch(c); err != nil {
		closeFD(fd)
		return nil, err
	}
	return c, nil
}

// Read implements net.Conn. In non-blocking mode it returns ErrWouldBlock instead of
// waiting.
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

// read makes one attempt. As long as a read fills p, the next may find more.
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
	if n == len(p) || n == 0 || c.readsPartially() {
		c.setReady(&c.in)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn. It waits in non-blocking mode too.
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

// write makes one attempt, which may write less than p.
func (c *conn) write(p []byte) (n int, err error) {
	c.out.call.Lock()
	defer c.out.call.Unlock()
	if err := c.begin(&c.out); err != nil {
		return 0, err
	}
	n, err = write(int(c.fd), p)
	if n == len(p) || err != nil && err != ErrWouldBlock {
		c.setReady(&c.out)
	}
	return n, err
}

// begin returns an error when a system call is not allowed or cannot make progress.
// Otherwise d counts as not ready from now on, until setReady or the poller says
// that it is.
func (c *conn) begin(d *direction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case d.expired(now()):
		return os.ErrDeadlineExceeded
	case !d.ready:
		return ErrWouldBlock
	}
	d.ready = false
	return nil
}

// setReady notes that another system call may make progress.
func (c *conn) setReady(d *direction) {
	c.mu.Lock()
	d.ready = true
	c.mu.Unlock()
}

func (c *conn) readsPartially() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partial
}

// wait returns when d is ready, its deadline has passed, or c is closed.
func (c *conn) wait(d *direction) {
	c.mu.Lock()
	if d.ready || c.closed || d.expired(now()) {
		c.mu.Unlock()
		return
	}
	released := releases.Get().(chan struct{})
	d.blocked = released
	c.schedule(d)
	c.mu.Unlock()
	<-released
	releases.Put(released)
}

// Park implements Conn.
func (c *conn) Park(w Waker) bool { return c.park(w, false) }

// ParkUntilDeadline implements Conn.
func (c *conn) ParkUntilDeadline(w Waker) bool { return c.park(w, true) }

func (c *conn) park(w Waker, timeOnly bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.ready && !timeOnly || c.closed || c.in.expired(now()) {
		return false
	}
	c.waker, c.timeOnly = w, timeOnly
	c.schedule(&c.in)
	return true
}

// SetNonblock implements Conn.
func (c *conn) SetNonblock(on bool) { c.nonblock = on }

// release lets the goroutine that waits for d continue. It ends parking if d is the
// reading side, and returns the Waker, if there is one. c.mu must be held; the
// caller calls Wake without it.
func (c *conn) release(d *direction) (w Waker) {
	if d.blocked != nil {
		d.blocked <- struct{}{} // does not block: each channel is used once
		d.blocked = nil
	}
	if d == &c.in {
		w, c.waker = c.waker, nil
	}
	return w
}

// handleEvent applies what the poller has seen.
func (c *conn) handleEvent(in, out, partial bool) {
	var w Waker
	c.mu.Lock()
	c.partial = c.partial || partial
	if in {
		if c.in.ready = true; c.waker == nil || !c.timeOnly {
			w = c.release(&c.in)
		}
	}
	if out {
		c.out.ready = true
		c.release(&c.out)
	}
	c.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// CloseWrite implements Conn.
func (c *conn) CloseWrite() error {
	c.out.call.Lock()
	defer c.out.call.Unlock()
	if err := c.checkOpen(); err != nil {
		return err
	}
	return shutdownWrite(int(c.fd))
}

// checkOpen returns net.ErrClosed after Close.
func (c *conn) checkOpen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// Close implements net.Conn. It interrupts Read and Write and wakes the Waker.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	w := c.release(&c.in)
	c.release(&c.out)
	c.mu.Unlock()
	deadlines.remove(c)
	c.in.call.Lock()
	defer c.in.call.Unlock()
	c.out.call.Lock()
	defer c.out.call.Unlock()
	unwatch(c)
	closeFD(int(c.fd))
	if w != nil {
		w.Wake()
	}
	return nil
}

// LocalAddr implements net.Conn. It returns nil after Close.
func (c *conn) LocalAddr() net.Addr {
	c.in.call.Lock()
	defer c.in.call.Unlock()
	if c.checkOpen() != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(localAddr(int(c.fd)))
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
