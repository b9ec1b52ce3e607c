package netpoll

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	ln, err := Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Both ends report the same addresses, IPv4 or IPv6. An IPv4-mapped IPv6 address is
// reported as IPv4.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ listen, dial, host string }{
		{"127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:0", "127.1.2.3", ""},
		{"127.0.0.1:0", "[::ffff:127.0.0.1]", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.1", "127.0.0.1"},
		{"[::1]:0", "[::1]", "::1"},
		{"[::]:0", "[::1]", "::1"},
		{"[::]:0", "127.0.0.1", "127.0.0.1"},
		{":0", "127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:0", "localhost", "127.0.0.1"},
		{"127.0.0.1:0", "", "127.0.0.1"},
	} {
		t.Run(tt.listen+" from "+tt.dial, func(t *testing.T) {
			ln, err := Listen("tcp", tt.listen)
			if err != nil && strings.HasPrefix(tt.listen, "[") {
				t.Skip("no IPv6: ", err)
			} else if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
			c, err := Dial(tt.dial+":"+netip.AddrPortFrom(netip.IPv6Unspecified(), port).String()[len("[::]:"):], time.Now().Add(testTimeout))
			if tt.host == "" {
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("dial: got %v, want %v", err, syscall.ECONNREFUSED)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			accepted, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			addrs := []string{c.LocalAddr().String(), c.RemoteAddr().String(), accepted.RemoteAddr().String(), accepted.LocalAddr().String()}
			if addrs[0] != addrs[2] || addrs[1] != addrs[3] {
				t.Errorf("dialed from %s to %s, accepted from %s at %s", addrs[0], addrs[1], addrs[2], addrs[3])
			}
			for _, a := range addrs {
				if at := netip.MustParseAddrPort(a); at.Addr() != netip.MustParseAddr(tt.host) || at.Port() == 0 {
					t.Errorf("got address %v, want host %s", at, tt.host)
				}
			}
			c.Write([]byte("data"))
			expectRead(t, accepted.(Conn), "data")
		})
	}
}

func TestDialErrors(t *testing.T) {
	closed := listenPlain(t)
	closed.Close()
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	for addr, want := range map[string]error{
		"127.0.0.1:" + port:           syscall.ECONNREFUSED,
		"[::ffff:127.0.0.1]:" + port:  syscall.ECONNREFUSED,
		"localhost:" + port:           syscall.ECONNREFUSED,
		"255.255.255.255:" + port:     nil,
		"[ff02::1%no-such-zone]:1":    nil,
		"127.0.0.1":                   nil,
		"127.0.0.1:no-such-port-at-1": nil,
	} {
		c, err := Dial(addr, time.Now().Add(testTimeout))
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", addr, err, want)
		}
		if c != nil {
			t.Errorf("%s: got a connection besides the error", addr)
		}
	}
}

// The deadline of Dial does not apply to the connection.
func TestDialLeavesNoDeadline(t *testing.T) {
	ln := listenPlain(t)
	defer ln.Close()
	for _, addr := range []string{ln.Addr().String(), strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)} {
		c, deadline := dialShort(t, addr)
		defer c.Close()
		<-time.After(time.Until(deadline))
		if _, err := c.Write([]byte("data")); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// dialShort dials with a deadline that is near, but far enough to succeed.
func dialShort(t *testing.T, addr string) (c Conn, deadline time.Time) {
	t.Helper()
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		deadline = time.Now().Add(wait)
		c, err := Dial(addr, deadline)
		if err == nil {
			return c, deadline
		}
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() || wait > testTimeout {
			t.Fatal(err)
		}
	}
}

// An address can be listened on once, and again after Close.
func TestListenOnUsedAddress(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	addr := ln.Addr().String()
	if two, err := Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) || two != nil {
		t.Fatalf("second listener: got %v, %v, want %v", two, err, syscall.EADDRINUSE)
	}
	for range 3 {
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: got %v, want %v", err, net.ErrClosed)
		}
		if _, err := Dial(addr, time.Now().Add(testTimeout)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Close: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		ln = listen(t, addr)
	}
	for _, bad := range []string{"127.0.0.1:no-such-port", "192.0.2.1:1", "127.0.0.1"} {
		if ln, err := Listen("tcp", bad); err == nil || ln != nil {
			t.Errorf("%s: got %v, %v, want an error", bad, ln, err)
		}
	}
}

// Close ends Accept, whether or not it waits already.
func TestCloseEndsAccept(t *testing.T) {
	for range 200 {
		ln := listen(t, "127.0.0.1:0")
		accepted := make(chan error)
		go func() {
			_, err := ln.Accept()
			accepted <- err
		}()
		ln.Close()
		select {
		case err := <-accepted:
			if !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
		case <-time.After(testTimeout):
			t.Fatal("Accept has not returned")
		}
	}
}

// No connection is left in the queue, however many arrive at once.
func TestAcceptMany(t *testing.T) {
	const many = 200
	ln := listen(t, "127.0.0.1:0")
	dialed := make(chan Conn, many)
	for range many {
		go func() {
			c, err := Dial(ln.Addr().String(), time.Now().Add(testTimeout))
			if err != nil {
				t.Error(err)
				ln.Close()
			}
			dialed <- c
		}()
	}
	clients := map[string]bool{}
	for range many {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[c.RemoteAddr().String()] = true
	}
	for range many {
		c := <-dialed
		defer c.Close()
		if !clients[c.LocalAddr().String()] {
			t.Errorf("%v was not accepted", c.LocalAddr())
		}
	}
}

// What was sent before a connection was accepted can be read, and so can the end.
func TestAcceptAfterDataAndEnd(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	for name, end := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer.Write([]byte("data"))
		end(peer.(*net.TCPConn))
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := readAll(t, c.(Conn), 100); name == "closed" && string(got) != "data" || err == nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
