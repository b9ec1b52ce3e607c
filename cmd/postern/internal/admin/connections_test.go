package admin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// keepAlive connects, asks once and keeps the connection.
func (r *running) keepAlive(t *testing.T) *bufio.Reader {
	t.Helper()
	c, err := net.DialTimeout("tcp", r.Addr().String(), testbed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testbed.Patience))
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(c)
	resp, err := http.ReadResponse(from, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return from
}

// TestIdleConnections: one that is idle is closed if there are too many, and the new one is
// served.
func TestIdleConnections(t *testing.T) {
	s := start(t)
	ended := make(chan error, connsMax)
	for range connsMax {
		from := s.keepAlive(t)
		go func() {
			_, err := from.ReadByte()
			ended <- err
		}()
	}
	s.keepAlive(t)
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the end of a connection", err)
	}
}

// addressedConn is a connection with the address of a client.
type addressedConn struct {
	net.Conn
	from   netip.AddrPort
	closed bool
}

func (c *addressedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }

func (c *addressedConn) Close() error {
	c.closed = true
	return nil
}

// TestTooManyConnections: which one is closed.
func TestTooManyConnections(t *testing.T) {
	s := newConnections(connsMax)
	var all []*addressedConn
	add := func(from string, states ...http.ConnState) *addressedConn {
		c := &addressedConn{from: netip.AddrPortFrom(netip.MustParseAddr(from), 50000)}
		all = append(all, c)
		for _, state := range append([]http.ConnState{http.StateNew}, states...) {
			s.count(c, state)
		}
		return c
	}
	operator := add("192.0.2.1", http.StateActive, http.StateIdle)
	for range connsMax - 1 {
		add("203.0.113.1", http.StateActive)
	}
	idle := add("192.0.2.2")
	if last := all[connsMax-1]; !last.closed || operator.closed || idle.closed {
		t.Error("want that the newest of the source with most connections is closed, as all of it are busy")
	}
	s.count(all[7], http.StateIdle)
	s.count(all[8], http.StateIdle)
	if flood := add("203.0.113.1"); !all[7].closed || all[8].closed || flood.closed {
		t.Error("want that the one is closed that waits longest")
	}
	closed := 0
	for _, c := range all {
		s.count(c, http.StateClosed)
		if c.closed {
			closed++
		}
	}
	s.open.Wait()
	if closed != 2 || len(s.all) != 0 {
		t.Errorf("got %d closed and %d left, want 2 and none", closed, len(s.all))
	}
}
