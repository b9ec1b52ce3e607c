package admin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
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

// TestBusyConnections are not closed; a new one is.
func TestBusyConnections(t *testing.T) {
	s := newConnections()
	var all []net.Conn
	add := func() net.Conn {
		c, _ := net.Pipe()
		s.count(c, http.StateNew)
		all = append(all, c)
		return c
	}
	for range connsMax {
		s.count(add(), http.StateActive)
	}
	if _, err := add().Write(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want that the new connection is closed", err)
	}
	s.count(all[7], http.StateIdle)
	for _, c := range all {
		c.SetWriteDeadline(time.Unix(1, 0))
	}
	add()
	for i, c := range all[:connsMax] {
		if _, err := c.Write([]byte{0}); errors.Is(err, io.ErrClosedPipe) != (i == 7) {
			t.Errorf("connection %d: got %v", i, err)
		}
	}
	for _, c := range all {
		s.count(c, http.StateClosed)
	}
	s.open.Wait()
	if len(s.all) != 0 {
		t.Errorf("got %d connections, want none", len(s.all))
	}
}
