package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"postern/proxy/netpoll"
)

// memConn is one end of a connection that behaves like TCP without a kernel:
// buffered, with addresses, deadlines, half-close and reset. Whoever waits does
// so on a condition, and therefore on the clock of a synctest bubble.
type memConn struct {
	*link
	in, out       *stream
	local, remote net.Addr
	alarms        [2]alarm // for reading and for writing
	closed        bool
}

// link is what both ends share.
type link struct {
	mu    sync.Mutex
	moved *sync.Cond
}

// stream is one direction.
type stream struct {
	data []byte
	room int
	fin  bool // no more will come
	rst  bool // the sender broke off
	deaf bool // the receiver has gone

	writes int // that were made, however much each of them was
}

// alarm is a deadline.
type alarm struct {
	at    time.Time
	timer *time.Timer
}

// streamRoom is about what a kernel takes before a writer must wait.
const streamRoom = 64 << 10

// newMemPair returns the two ends of a connection from client to server.
func newMemPair(client, server string) (near, far *memConn) {
	l := &link{}
	l.moved = sync.NewCond(&l.mu)
	up, down := &stream{room: streamRoom}, &stream{room: streamRoom}
	from, to := tcpAddr(client), tcpAddr(server)
	return &memConn{link: l, in: down, out: up, local: from, remote: to},
		&memConn{link: l, in: up, out: down, local: to, remote: from}
}

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if n, err := c.readNow(p); err != netpoll.ErrWouldBlock {
			return n, err
		}
		c.moved.Wait()
	}
}

// readNow is Read without the wait.
func (c *memConn) readNow(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.alarms[0].rings():
		return 0, os.ErrDeadlineExceeded
	case len(c.in.data) > 0:
		n := copy(p, c.in.data)
		c.in.data = c.in.data[n:]
		c.moved.Broadcast()
		return n, nil
	case c.in.rst:
		return 0, syscall.ECONNRESET
	case c.in.fin:
		return 0, io.EOF
	}
	return 0, netpoll.ErrWouldBlock
}

func (c *memConn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.writes++
	for {
		switch {
		case c.closed:
			return n, net.ErrClosed
		case c.alarms[1].rings():
			return n, os.ErrDeadlineExceeded
		case c.out.deaf || c.out.fin || c.in.rst:
			return n, syscall.EPIPE
		}
		part := min(len(p), c.out.room-len(c.out.data))
		c.out.data = append(c.out.data, p[:part]...)
		c.moved.Broadcast()
		n += part
		if p = p[part:]; len(p) == 0 {
			return n, nil
		}
		c.moved.Wait()
	}
}

// Close ends both directions. As with TCP, the peer finds the stream broken off
// if it had sent something that was not read.
func (c *memConn) Close() error { return c.end(false) }

// reset breaks off.
func (c *memConn) reset() { c.end(true) }

func (c *memConn) end(broken bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed, c.out.fin, c.in.deaf = true, true, true
	c.out.rst = broken || len(c.in.data) > 0
	c.moved.Broadcast()
	return nil
}

// CloseWrite ends the direction from this end.
func (c *memConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.in.rst || c.out.deaf {
		return errors.New("not connected any more")
	}
	c.out.fin = true
	c.moved.Broadcast()
	return nil
}

// unread is how much the peer has sent that was not read here.
func (c *memConn) unread() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in.data)
}

// peerWrote is how often the peer has written.
func (c *memConn) peerWrote() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.writes
}

func (c *memConn) SetDeadline(t time.Time) error      { return c.set(t, 0, 1) }
func (c *memConn) SetReadDeadline(t time.Time) error  { return c.set(t, 0) }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.set(t, 1) }

func (c *memConn) set(t time.Time, which ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range which {
		a := &c.alarms[i]
		if a.timer != nil {
			a.timer.Stop()
		}
		*a = alarm{at: t}
		if left := time.Until(t); !t.IsZero() && left > 0 {
			a.timer = time.AfterFunc(left, c.moved.Broadcast)
		}
	}
	c.moved.Broadcast()
	return nil
}

func (a alarm) rings() bool { return !a.at.IsZero() && !time.Now().Before(a.at) }

// memListener hands out the far ends of what is dialled, and errors on demand.
type memListener struct {
	addr    string
	arrived chan arrival
	once    sync.Once
	done    chan struct{}
}

type arrival struct {
	conn net.Conn
	err  error
}

func newMemListener(addr string) *memListener {
	return &memListener{addr: addr, arrived: make(chan arrival), done: make(chan struct{})}
}

// Accept waits for dial or fail.
func (l *memListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.arrived:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return tcpAddr(l.addr) }

// dial connects from an address, and returns both ends.
func (l *memListener) dial(from string) (near, far *memConn) {
	near, far = newMemPair(from, l.addr)
	select {
	case l.arrived <- arrival{conn: far}:
	case <-l.done:
		far.Close()
	}
	return near, far
}

// fail makes one Accept fail.
func (l *memListener) fail(err error) { l.arrived <- arrival{err: err} }
