package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// Ten thousand idle sessions are closed evenly over the last five minutes, the longest idle
// first.
func TestIdleSessionsAreClosedEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, parts = 10_000, 30
		all := newIdlers(t, n)
		ended := all.startEnding(Ending{0, 12 * time.Hour})
		<-time.After(12*time.Hour - maxPacing)
		if closed := all.closings(); len(closed) != 0 {
			t.Fatalf("got %d sessions closed before the last %v, want none", len(closed), maxPacing)
		}
		order := 0
		for part := range parts {
			<-time.After(maxPacing / parts)
			closed := all.closings()
			if got, even := float64(len(closed)), float64(n)/parts; got < even-1 || got > even+1 {
				t.Errorf("part %d: got %v closed, want %v", part, got, even)
			}
			times := map[time.Duration]int{}
			for _, c := range closed {
				if times[c.after]++; times[c.after] > 4 {
					t.Fatalf("got more than 4 sessions closed at once after %v", c.after)
				}
			}
			slices.SortStableFunc(closed, func(a, b closedIdler) int { return int(a.after - b.after) })
			for _, c := range closed { // those of one step end in any order
				if c.index < order-4 || c.index > order+4 {
					t.Fatalf("got session %d closed as number %d, want the longest idle first", c.index, order)
				}
				order++
			}
		}
		if err := receivedNow(t, ended); err != nil || order != n {
			t.Errorf("Shutdown: got %v with %d sessions closed, want %d", err, order, n)
		}
	})
}

// Sessions that move data are not closed before the end, and those that moved some are tried
// later. The others are closed evenly all the same.
func TestActiveSessionsAreNotPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, total = 1000, 10 * time.Minute
		all := newIdlers(t, n)
		busy := func(i int) bool { return i%10 == 0 }
		sometimes := func(i int) bool { return i%10 == 1 } // every 90 s
		ended := all.startEnding(Ending{0, total})
		lastMove, pacing := map[int]time.Duration{}, total-maxPacing
		var closed []closedIdler
		for now := time.Duration(0); now < total; now += 10 * time.Second {
			for i, client := range all.clients {
				if busy(i) || sometimes(i) && (now/(10*time.Second)+time.Duration(i))%9 == 0 {
					lastMove[i] = now
					client.deliver("data")
				}
			}
			<-time.After(10 * time.Second)
			closings := all.closings()
			if now < total-20*time.Second && len(closings) > 40 {
				t.Errorf("after %v: got %d sessions closed in 10 s, want some 33", now, len(closings))
			}
			closed = append(closed, closings...)
			if want := n * int((now+10*time.Second-pacing)/time.Second) / 300; want < n*2/3 && want >= 0 && (len(closed) < want-2 || len(closed) > want+2) {
				t.Errorf("after %v: got %d sessions closed, want %d", now, len(closed), want)
			}
		}
		if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
		for _, c := range closed {
			switch moved, any := lastMove[c.index]; {
			case busy(c.index) && c.after != total:
				t.Errorf("busy session %d was closed after %v, want %v", c.index, c.after, total)
			case !busy(c.index) && c.after < pacing:
				t.Errorf("session %d was closed after %v, want %v or later", c.index, c.after, pacing)
			case any && c.after != total && c.after-moved < maxIdle && c.after > moved:
				t.Errorf("session %d was closed after %v, with data at %v", c.index, c.after, moved)
			case !any && c.after == total:
				t.Errorf("session %d was idle all the time and closed with those that are left", c.index)
			}
		}
		if len(closed) != n {
			t.Errorf("got %d sessions closed, want %d", len(closed), n)
		}
	})
}

// A session that ends by itself is not replaced by another: what is left is closed evenly.
func TestPacingAfterSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newIdlers(t, 600)
		ended := all.startEnding(Ending{0, time.Hour})
		<-time.After(time.Hour - maxPacing/2)
		half := len(all.closings())
		for _, client := range all.clients[450:] {
			client.SetReadDeadline(past) // as after the idle limit
		}
		if n := len(all.closings()); half < 299 || half > 301 || n != 0 {
			t.Errorf("got %d sessions closed and %d at the deadline, want 300 and 0", half, n)
		}
		for i := range 5 {
			<-time.After(maxPacing / 10)
			if n := len(all.closings()); n < 59 || n > 61 {
				t.Errorf("part %d: got %d sessions closed, want 60", i, n)
			}
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// A short shutdown is paced over its last 4/5.
func TestPacingOfShortShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newIdlers(t, 80)
		ended := all.startEnding(Ending{0, 10 * time.Second})
		for i := range 10 {
			<-time.After(time.Second)
			want := 10
			if i < 2 {
				want = 0
			}
			if n := len(all.closings()); n < want-1 || n > want+1 {
				t.Errorf("second %d: got %d sessions closed, want %d", i, n, want)
			}
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// An idle session ends without another word, in TLS by close_notify.
func TestPacedSessionEnds(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		const total = 30 * time.Minute
		ended := make(chan time.Time, 1)
		proxy, client := newRelayedClient(t, l, func(b *peer) {
			b.expect("a2 IDLE")
			b.send("+ idling")
			b.expectClosed()
			ended <- time.Now()
		})
		client.send("a2 IDLE")
		client.expect("+ idling")
		start := time.Now()
		shutdown := proxy.startEnding(Ending{0, total})
		client.expectNothing(total - time.Millisecond)
		client.expectEOF()
		if took := (<-ended).Sub(start); took != total {
			t.Errorf("the backend's connection ended after %v, want %v", took, total)
		}
		if err := receivedNow(t, shutdown); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != StepRelay || r.Err != nil {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, StepRelay)
		}
	})
}

// A session whose client takes no data, or has sent part of a TLS record, is within a
// transfer, however long nothing moves.
func TestTransferIsNotPaced(t *testing.T) {
	mail := strings.Repeat("mail", streamCapacity)
	for name, c := range map[string]struct {
		listener Listener
		play     func(*peer)
		begin    func(*peer)
	}{
		"client does not read":            {imapListener, func(b *peer) { b.Write([]byte(mail)) }, func(*peer) {}},
		"client does not read, in TLS":    {imapsListener, func(b *peer) { b.Write([]byte(mail)) }, func(*peer) {}},
		"client has sent half a record":   {imapsListener, (*peer).expectClosed, sendRecord(500)},
		"client has sent a record's head": {imapsListener, (*peer).expectClosed, sendRecord(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, client := newRelayedClient(t, c.listener, func(b *peer) {
					b.SetDeadline(time.Time{})
					c.play(b)
				})
				c.begin(client)
				ended := proxy.startEnding(Ending{0, 20 * time.Minute})
				<-time.After(20*time.Minute - time.Millisecond)
				notReceived(t, ended)
				<-time.After(time.Millisecond + lastWriteTimeout)
				if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
				}
			})
		})
	}
}

// sendRecord returns a function that sends the head of a TLS record of 1000 octets, and n
// octets of it.
func sendRecord(n int) func(client *peer) {
	return func(client *peer) {
		client.Conn.(*tls.Conn).NetConn().Write(append([]byte{23, 3, 3, 1000 >> 8, 1000 & 255}, make([]byte, n)...))
	}
}

// countingConn counts what is read.
type countingConn struct {
	netpoll.Conn
	read atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// openCounting returns a connection over TCP, and its peer, which the test closes.
func openCounting(t *testing.T) (*countingConn, net.Conn) {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	c, err := netpoll.Dial(ln.Addr().String(), time.Now().Add(realTimeout))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return &countingConn{Conn: c}, peer
}

// All that was read when a session is closed as idle has been written to the other side.
func TestPacingLosesNothing(t *testing.T) {
	for range 100 {
		client, fromClient := openCounting(t)
		backend, fromBackend := openCounting(t)
		r, ended := newTestRelay(client, backend), make(chan bool)
		r.end = func() { close(ended) }
		r.begin(time.Hour, nil, nil)
		go io.Copy(io.Discard, fromClient)
		go io.Copy(io.Discard, fromBackend)
		for _, peer := range []net.Conn{fromClient, fromBackend} {
			go func() {
				for i := 0; ; i++ {
					if _, err := peer.Write(make([]byte, 1+i%100)); err != nil {
						return
					}
					if i%3 == 0 {
						runtime.Gosched()
					}
				}
			}()
		}
		for tries := 0; !r.abortIdle(time.Since(epoch)); tries++ {
			if tries%1000 == 999 { // the flood never ends: have it pause
				runtime.Gosched()
			}
		}
		<-ended
		if up, down := client.read.Load(), backend.read.Load(); up != r.up.carried || down != r.down.carried {
			t.Fatalf("got %d and %d octets read, %d and %d written", up, down, r.up.carried, r.down.carried)
		}
		fromClient.Close()
		fromBackend.Close()
	}
}
