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

func socketListen(t testing.TB, addr string) net.Listener {
	t.Helper()
	ln, err := Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Both ends know both addresses, of either family. One of IPv4 in the clothes of
// IPv6 is one of IPv4.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ listen, dial, host string }{
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
		t.Run(c.listen+" from "+c.dial, func(t *testing.T) {
			ln, err := Listen("tcp", c.listen)
			if err != nil && strings.HasPrefix(c.listen, "[") {
				t.Skip("no IPv6: ", err)
			} else if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
			near, err := Dial(c.dial+":"+netip.AddrPortFrom(netip.IPv6Unspecified(), port).String()[len("[::]:"):], time.Now().Add(truePatience))
			if c.host == "" {
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("dial: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			far, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			addrs := []string{near.LocalAddr().String(), near.RemoteAddr().String(), far.RemoteAddr().String(), far.LocalAddr().String()}
			if addrs[0] != addrs[2] || addrs[1] != addrs[3] {
				t.Errorf("from %s to %s, but accepted from %s at %s", addrs[0], addrs[1], addrs[2], addrs[3])
			}
			for _, a := range addrs {
				if at := netip.MustParseAddrPort(a); at.Addr() != netip.MustParseAddr(c.host) || at.Port() == 0 {
					t.Errorf("at %v, want %s", at, c.host)
				}
			}
			near.Write([]byte("word"))
			wants(t, far.(Conn), "word")
		})
	}
}

// A dial that fails says why, and is no connection.
func TestDialFails(t *testing.T) {
	gone := netListen(t)
	gone.Close()
	_, port, _ := net.SplitHostPort(gone.Addr().String())
	for addr, want := range map[string]error{
		"127.0.0.1:" + port:           syscall.ECONNREFUSED,
		"[::ffff:127.0.0.1]:" + port:  syscall.ECONNREFUSED,
		"localhost:" + port:           syscall.ECONNREFUSED,
		"255.255.255.255:" + port:     nil,
		"[ff02::1%no-such-zone]:1":    nil,
		"127.0.0.1":                   nil,
		"127.0.0.1:no-such-port-at-1": nil,
	} {
		c, err := Dial(addr, time.Now().Add(truePatience))
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", addr, err, want)
		}
		if c != nil {
			t.Errorf("%s: there is a connection", addr)
		}
	}
}

// The time to dial is not the time to write.
func TestDialLeavesNoDeadline(t *testing.T) {
	ln := netListen(t)
	defer ln.Close()
	for _, addr := range []string{ln.Addr().String(), strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)} {
		until := time.Now().Add(50 * time.Millisecond)
		c, err := Dial(addr, until)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		<-time.After(time.Until(until))
		if _, err := c.Write([]byte("word")); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// Only one listens on an address, until it closes it.
func TestListenTwice(t *testing.T) {
	ln := socketListen(t, "127.0.0.1:0")
	addr := ln.Addr().String()
	if two, err := Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) || two != nil {
		t.Fatalf("second listener: %v, %v", two, err)
	}
	for range 3 {
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if _, err := Dial(addr, time.Now().Add(truePatience)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialled what was closed: %v", err)
		}
		ln = socketListen(t, addr)
	}
	for _, bad := range []string{"127.0.0.1:no-such-port", "192.0.2.1:1", "127.0.0.1"} {
		if ln, err := Listen("tcp", bad); err == nil || ln != nil {
			t.Errorf("listens on %s", bad)
		}
	}
}

// Accept ends when its listener is closed, whether it waits yet or not.
func TestListenerIsClosedInAccept(t *testing.T) {
	for range 200 {
		ln := socketListen(t, "127.0.0.1:0")
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
		case <-time.After(truePatience):
			t.Fatal("still accepting")
		}
	}
}

// No connection is left waiting in front of a listener, however many come at once.
func TestAcceptMany(t *testing.T) {
	const many = 200
	ln := socketListen(t, "127.0.0.1:0")
	dialled := make(chan Conn, many)
	for range many {
		go func() {
			c, err := Dial(ln.Addr().String(), time.Now().Add(truePatience))
			if err != nil {
				t.Error(err)
				ln.Close()
			}
			dialled <- c
		}()
	}
	callers := map[string]bool{}
	for range many {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		callers[c.RemoteAddr().String()] = true
	}
	for range many {
		c := <-dialled
		defer c.Close()
		if !callers[c.LocalAddr().String()] {
			t.Errorf("%v was not accepted", c.LocalAddr())
		}
	}
}

// What was said before a connection was accepted is heard, and so is the end.
func TestAcceptWhatHasSpokenAndGone(t *testing.T) {
	ln := socketListen(t, "127.0.0.1:0")
	for name, leave := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		far, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far.Write([]byte("word"))
		leave(far.(*net.TCPConn))
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := hearAll(t, c.(Conn), 100); name == "closed" && string(got) != "word" || err == nil {
			t.Errorf("%s: heard %q, %v", name, got, err)
		}
	}
}
