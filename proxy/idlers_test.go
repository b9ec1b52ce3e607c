package proxy

import (
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// stubConn is a connection without a goroutine, of which a test can have very many. Only a
// deadline that has passed already wakes it.
type stubConn struct {
	netpoll.Conn // nil: has the methods that are not called
	onClose      func()

	mu       sync.Mutex
	deadline time.Time
	data     []byte
	waker    netpoll.Waker
}

// Read returns what deliver has delivered.
func (c *stubConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.expired():
		return 0, os.ErrDeadlineExceeded
	case len(c.data) == 0:
		return 0, netpoll.ErrWouldBlock
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}

// deliver has c receive data.
func (c *stubConn) deliver(data string) { c.change(func() { c.data = append(c.data, data...) }) }

// change changes c, and wakes it if there is something to read or the deadline has passed.
func (c *stubConn) change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.waker != nil && (c.expired() || len(c.data) > 0) {
		c.waker.Wake()
		c.waker = nil
	}
}

func (c *stubConn) expired() bool { return !c.deadline.IsZero() && !time.Now().Before(c.deadline) }

func (c *stubConn) Park(w netpoll.Waker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired() || len(c.data) > 0 {
		return false
	}
	c.waker = w
	return true
}

func (c *stubConn) SetReadDeadline(t time.Time) error {
	c.change(func() { c.deadline = t })
	return nil
}

func (c *stubConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *stubConn) SetWriteDeadline(time.Time) error { return nil }
func (c *stubConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *stubConn) SetNonblock(bool)                 {}

// idlers are sessions that are logged in on stubConns.
type idlers struct {
	*testProxy
	clients []*stubConn
	start   time.Time

	mu     sync.Mutex
	closed []closedIdler
}

// closedIdler is a session that has been closed.
type closedIdler struct {
	index int
	after time.Duration
}

// newIdlers returns n sessions. The first has been idle for the longest, each further one
// for a nanosecond less.
func newIdlers(t *testing.T, n int) *idlers {
	proxy := newTestProxy(t, dialogue.IMAP{}, nil)
	proxy.init()
	all := &idlers{testProxy: proxy}
	for i := range n {
		client, backend := &stubConn{}, &stubConn{}
		client.onClose = func() {
			all.mu.Lock()
			defer all.mu.Unlock()
			all.closed = append(all.closed, closedIdler{i, time.Since(all.start)})
		}
		ss := &session{server: proxy.Server, listener: &imapListener, raw: client}
		proxy.mu.Lock()
		proxy.sessions[ss] = true
		proxy.mu.Unlock()
		r := newRelay(side{EndClient, client, client}, side{EndBackend, backend, backend}, ss.relayed)
		r.workers = proxy.workers
		ss.enterRelay(r)
		r.begin(24*time.Hour, nil, nil)
		r.mu.Lock()
		r.lastMove += time.Duration(i - n)
		r.mu.Unlock()
		all.clients = append(all.clients, client)
		if i%1000 == 0 {
			synctest.Wait()
		}
	}
	all.start = time.Now()
	return all
}

// Close is called twice, by the relay and by the session.
func (c *stubConn) Close() error {
	c.mu.Lock()
	onClose := c.onClose
	c.onClose = nil
	c.mu.Unlock()
	if onClose != nil {
		onClose()
	}
	return nil
}

// closings returns the sessions that have been closed since the last call.
func (all *idlers) closings() []closedIdler {
	synctest.Wait()
	all.mu.Lock()
	defer all.mu.Unlock()
	closed := all.closed
	all.closed = nil
	return closed
}
