package netpoll

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// truePatience is how long a test waits for what must come.
const truePatience = 30 * time.Second

// kinds are the ways to come by a Conn.
var kinds = map[string]func(t testing.TB) (Conn, *net.TCPConn){
	"accepted": accepts,
	"dialled":  dialled,
	"wrapped":  wraps,
}

// eachKind runs a test with a Conn of each kind and the other end of it.
func eachKind(t *testing.T, test func(t *testing.T, c Conn, far *net.TCPConn)) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			c, far := open(t)
			test(t, c, far)
		})
	}
}

func accepts(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln, err := Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return tidy(t, c.(Conn), far)
}

func dialled(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln := netListen(t)
	defer ln.Close()
	c, err := Dial(ln.Addr().String(), time.Now().Add(truePatience))
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return tidy(t, c, far)
}

func wraps(t testing.TB) (Conn, *net.TCPConn) {
	t.Helper()
	ln := netListen(t)
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return tidy(t, Wrap(c), far)
}

func netListen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// tidy has both ends closed when the test is over.
func tidy(t testing.TB, c Conn, far net.Conn) (Conn, *net.TCPConn) {
	t.Cleanup(func() {
		c.Close()
		far.Close()
	})
	far.SetDeadline(time.Now().Add(2 * truePatience))
	return c, far.(*net.TCPConn)
}

// bell is a Sleeper that a test waits for.
type bell chan struct{}

func newBell() bell { return make(bell, 8) }

// Wake rings the bell.
func (b bell) Wake() { b <- struct{}{} }

// wait waits until the bell rings.
func (b bell) wait(t testing.TB) {
	t.Helper()
	select {
	case <-b:
	case <-time.After(truePatience):
		t.Fatal("not woken")
	}
}

// isQuiet fails if the bell has rung once more than was waited for, when all that
// happened before has been dealt with.
func (b bell) isQuiet(t testing.TB) {
	t.Helper()
	for _, open := range []func(testing.TB) (Conn, *net.TCPConn){accepts, wraps} {
		c, far := open(t)
		later := newBell()
		far.Write([]byte{1})
		if c.Park(later) {
			later.wait(t)
		}
		c, _ = open(t)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if c.Park(later) {
			later.wait(t)
		}
	}
	if len(b) != 0 {
		t.Error("woken for nothing")
	}
}

// rest parks c until it is woken, or learns that it need not wait.
func rest(t testing.TB, c Conn) {
	t.Helper()
	if b := newBell(); c.Park(b) {
		b.wait(t)
	}
}

// hear reads like a relay does: it parks c whenever there is nothing to read.
func hear(t testing.TB, c Conn, p []byte) (int, error) {
	t.Helper()
	c.SetNonblock(true)
	for {
		n, err := c.Read(p)
		if err != ErrWouldBlock {
			return n, err
		}
		if n != 0 {
			t.Fatal("read something and nothing")
		}
		rest(t, c)
	}
}

// hearAll hears until the end.
func hearAll(t testing.TB, c Conn, size int) (got []byte, err error) {
	t.Helper()
	p := make([]byte, size)
	for {
		n, err := hear(t, c, p)
		got = append(got, p[:n]...)
		if err != nil {
			return got, err
		}
	}
}

func wants(t testing.TB, c Conn, word string) {
	t.Helper()
	p := make([]byte, len(word))
	for n := 0; n < len(p); {
		m, err := hear(t, c, p[n:])
		if n += m; err != nil {
			t.Fatalf("heard %q, want %q: %v", p[:n], word, err)
		}
	}
	if string(p) != word {
		t.Fatalf("heard %q, want %q", p, word)
	}
}

// farWants reads word at the other end.
func farWants(t testing.TB, far net.Conn, word string) {
	t.Helper()
	p := make([]byte, len(word))
	if n, err := io.ReadFull(far, p); err != nil || string(p) != word {
		t.Fatalf("other end heard %q, want %q: %v", p[:n], word, err)
	}
}

// noise is n octets that do not repeat soon.
func noise(n int) []byte {
	var b bytes.Buffer
	for i := uint32(1); b.Len() < min(n, 65521); i = i*1664525 + 1013904223 {
		b.WriteByte(byte(i >> 24))
	}
	return bytes.Repeat(b.Bytes(), n/b.Len()+1)[:n]
}
