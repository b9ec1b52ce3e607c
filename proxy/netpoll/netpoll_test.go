package netpoll

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// testTimeout bounds the wait for what must happen.
const testTimeout = 30 * time.Second

// kinds are the ways to open a Conn. Each returns the Conn and its peer.
var kinds = map[string]func(t testing.TB) (Conn, *net.TCPConn){
	"accepted": openAccepted,
	"dialed":   openDialed,
	"wrapped":  openWrapped,
}

// eachKind runs a test with a Conn of each kind.
func eachKind(t *testing.T, test func(t *testing.T, c Conn, peer *net.TCPConn)) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, peer := open(t)
			test(t, c, peer)
		})
	}
}

func openAccepted(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln, err := Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return closeLater(t, c.(Conn), peer)
}

func openDialed(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln := listenPlain(t)
	defer ln.Close()
	c, err := Dial(ln.Addr().String(), time.Now().Add(testTimeout))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return closeLater(t, c, peer)
}

func openWrapped(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln := listenPlain(t)
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return closeLater(t, Wrap(c), peer)
}

// listenPlain listens without this package.
func listenPlain(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// closeLater closes both ends when the test is over.
func closeLater(t testing.TB, c Conn, peer net.Conn) (Conn, *net.TCPConn) {
	t.Cleanup(func() {
		c.Close()
		peer.Close()
	})
	peer.SetDeadline(time.Now().Add(2 * testTimeout))
	return c, peer.(*net.TCPConn)
}

// awaitBlocked returns when a goroutine waits in a call of c. Only the Conn of Linux
// knows.
func awaitBlocked(t testing.TB, c Conn) {
	t.Helper()
	if c, ok := c.(interface{ awaitBlocked(testing.TB) }); ok {
		c.awaitBlocked(t)
	}
}

// testWaker is a Waker that a test waits for.
type testWaker chan struct{}

func newTestWaker() testWaker { return make(testWaker, 8) }

// Wake implements Waker.
func (w testWaker) Wake() { w <- struct{}{} }

// wait waits for a call of Wake.
func (w testWaker) wait(t testing.TB) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(testTimeout):
		t.Fatal("not woken")
	}
}

// expectNone fails if there was a call of Wake that the test has not waited for. It
// returns after the poller and the timer have handled everything up to now, which it
// learns from connections of its own.
func (w testWaker) expectNone(t testing.TB) {
	t.Helper()
	for _, open := range []func(testing.TB) (Conn, *net.TCPConn){openAccepted, openWrapped} {
		c, peer := open(t)
		later := newTestWaker()
		peer.Write([]byte{1})
		if c.Park(later) {
			later.wait(t)
		}
		c, _ = open(t)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if c.Park(later) {
			later.wait(t)
		}
	}
	if len(w) != 0 {
		t.Error("woken without a reason")
	}
}

// awaitReadable parks c until it is woken, if it can be parked.
func awaitReadable(t testing.TB, c Conn) {
	t.Helper()
	if w := newTestWaker(); c.Park(w) {
		w.wait(t)
	}
}

// readParked reads like the relay: it parks c whenever there is nothing to read.
func readParked(t testing.TB, c Conn, p []byte) (int, error) {
	t.Helper()
	c.SetNonblock(true)
	for {
		n, err := c.Read(p)
		if err != ErrWouldBlock {
			return n, err
		}
		if n != 0 {
			t.Fatalf("got %d octets and %v, want one of the two", n, err)
		}
		awaitReadable(t, c)
	}
}

// readAll reads until an error, size octets at a time.
func readAll(t testing.TB, c Conn, size int) (got []byte, err error) {
	t.Helper()
	p := make([]byte, size)
	for {
		n, err := readParked(t, c, p)
		got = append(got, p[:n]...)
		if err != nil {
			return got, err
		}
	}
}

// expectRead reads data from c.
func expectRead(t testing.TB, c Conn, data string) {
	t.Helper()
	p := make([]byte, len(data))
	for n := 0; n < len(p); {
		m, err := readParked(t, c, p[n:])
		if n += m; err != nil {
			t.Fatalf("got %q, want %q: %v", p[:n], data, err)
		}
	}
	if string(p) != data {
		t.Fatalf("got %q, want %q", p, data)
	}
}

// expectPeerRead reads data at the peer.
func expectPeerRead(t testing.TB, peer net.Conn, data string) {
	t.Helper()
	p := make([]byte, len(data))
	if n, err := io.ReadFull(peer, p); err != nil || string(p) != data {
		t.Fatalf("peer: got %q, want %q: %v", p[:n], data, err)
	}
}

// pattern is n octets with a period too long for a shift to go unnoticed.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := uint32(1); b.Len() < min(n, 65521); i = i*1664525 + 1013904223 {
		b.WriteByte(byte(i >> 24))
	}
	return bytes.Repeat(b.Bytes(), n/b.Len()+1)[:n]
}
