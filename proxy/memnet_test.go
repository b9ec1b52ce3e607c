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

// memConn is one end of a connection in memory that behaves like TCP: buffered, with
// addresses, deadlines, half-close and reset. Reads and writes wait on a condition, and
// so on the clock of a synctest bubble.
type memConn struct {
	*memLink
	in, out       *memStream
	local, remote net.Addr
	deadlines     [2]memDeadline // for reading and for writing
	closed        bool
}

// memLink is shared by both ends.
type memLink struct {
	mu      sync.Mutex
	changed *sync.Cond
}

// memStream is one direction.
type memStream struct {
	data         []byte
	capacity     int
	fin          bool // no more will come
	rst          bool // the writer has reset the connection
	readerClosed bool // the reader has closed

	writes int // how many were made
}

// memDeadline is a deadline.
type memDeadline struct {
	at    time.Time
	timer *time.Timer
}

// streamCapacity is about as much as a kernel buffers.
const streamCapacity = 64 << 10

// newMemPair returns the two ends of a connection from client to server.
func newMemPair(client, server string) (near, far *memConn) {
	l := &memLink{}
	l.changed = sync.NewCond(&l.mu)
	up, down := &memStream{capacity: streamCapacity}, &memStream{capacity: streamCapacity}
	from, to := tcpAddr(client), tcpAddr(server)
	return &memConn{memLink: l, in: down, out: up, local: from, remote: to},
		&memConn{memLink: l, in: up, out: down, local: to, remote: from}
}

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func (c *memConn) LocalAddr() net.Addr { return c.local }

func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if n, err := c.readNow(p); err != netpoll.ErrWouldBlock {
			return n, err
		}
		c.changed.Wait()
	}
}

// readNow is Read without the wait.
func (c *memConn) readNow(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.deadlines[0].passed():
		return 0, os.ErrDeadlineExceeded
	case len(c.in.data) > 0:
		n := copy(p, c.in.data)
		c.in.data = c.in.data[n:]
		c.changed.Broadcast()
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
		case c.deadlines[1].passed():
			return n, os.ErrDeadlineExceeded
		case c.out.readerClosed || c.out.fin || c.in.rst:
			return n, syscall.EPIPE
		}
		part := min(len(p), c.out.capacity-len(c.out.data))
		c.out.data = append(c.out.data, p[:part]...)
		c.changed.Broadcast()
		n += part
		if p = p[part:]; len(p) == 0 {
			return n, nil
		}
		c.changed.Wait()
	}
}

// Close ends both directions. As with TCP, the peer sees a reset if it had sent
// something that was not read.
func (c *memConn) Close() error { return c.end(false) }

// reset closes with a reset.
func (c *memConn) reset() { c.end(true) }

func (c *memConn) end(broken bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed, c.out.fin, c.in.readerClosed = true, true, true
	c.out.rst = broken || len(c.in.data) > 0
	c.changed.Broadcast()
	return nil
}

// CloseWrite ends the sending direction.
func (c *memConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.in.rst || c.out.readerClosed {
		return errors.New("not connected any more")
	}
	c.out.fin = true
	c.changed.Broadcast()
	return nil
}

// unread is how many bytes the peer has sent that were not read here.
func (c *memConn) unread() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in.data)
}

// peerWrites is how often the peer has written.
func (c *memConn) peerWrites() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.writes
}

func (c *memConn) SetDeadline(t time.Time) error { return c.set(t, 0, 1) }

func (c *memConn) SetReadDeadline(t time.Time) error { return c.set(t, 0) }

func (c *memConn) SetWriteDeadline(t time.Time) error { return c.set(t, 1) }

func (c *memConn) set(t time.Time, which ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range which {
		a := &c.deadlines[i]
		if a.timer != nil {
			a.timer.Stop()
		}
		*a = memDeadline{at: t}
		if left := time.Until(t); !t.IsZero() && left > 0 {
			a.timer = time.AfterFunc(left, c.changed.Broadcast)
		}
	}
	c.changed.Broadcast()
	return nil
}

func (a memDeadline) passed() bool { return !a.at.IsZero() && !time.Now().Before(a.at) }

// memListener accepts what is dialled, and fails on demand.
type memListener struct {
	addr    string
	accepts chan acceptResult
	once    sync.Once
	done    chan struct{}
}

type acceptResult struct {
	conn net.Conn
	err  error
}

func newMemListener(addr string) *memListener {
	return &memListener{addr: addr, accepts: make(chan acceptResult), done: make(chan struct{})}
}

// Accept waits for dial or fail.
func (l *memListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepts:
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
	case l.accepts <- acceptResult{conn: far}:
	case <-l.done:
		far.Close()
	}
	return near, far
}

// fail makes one Accept fail.
func (l *memListener) fail(err error) { l.accepts <- acceptResult{err: err} }
