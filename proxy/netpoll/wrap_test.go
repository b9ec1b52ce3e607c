package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// withPipe runs a test on a fake clock with both ends of a pipe, one of them wrapped.
func withPipe(t *testing.T, test func(t *testing.T, c Conn, peer net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := net.Pipe()
		c := Wrap(end)
		defer c.Close()
		defer peer.Close()
		c.SetNonblock(true)
		test(t, c, peer)
	})
}

func TestWrapReturnsConnItself(t *testing.T) {
	c := Wrap(&wrapped{})
	if Wrap(c) != c {
		t.Error("a Conn was wrapped again")
	}
}

// What was read ahead is returned in order, data before the end. Neither an empty read
// nor a read after the deadline loses it.
func TestWrapKeepsReadAhead(t *testing.T) {
	withPipe(t, func(t *testing.T, c Conn, peer net.Conn) {
		w := newTestWaker()
		c.Park(w)
		peer.Write([]byte("data"))
		w.wait(t)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("empty read: got %d octets, %v", n, err)
		}
		c.SetReadDeadline(past)
		if n, err := c.Read(make([]byte, 2)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after the deadline: got %d octets, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		expectRead(t, c, "data")
		c.Park(w)
		peer.Close()
		w.wait(t)
		c.SetReadDeadline(past)
		c.Read(make([]byte, 2))
		c.SetReadDeadline(time.Time{})
		for range 2 {
			if n, err := c.Read(make([]byte, 2)); n != 0 || err != io.EOF {
				t.Errorf("at the end: got %d octets, %v", n, err)
			}
			if c.Park(w) {
				t.Error("parked at the end")
			}
		}
	})
}

// A parked connection is woken exactly at its deadline, however often that was moved.
func TestWrapWakesAtDeadline(t *testing.T) {
	for name, park := range parkFuncs {
		t.Run(name, func(t *testing.T) {
			withPipe(t, func(t *testing.T, c Conn, _ net.Conn) {
				start := time.Now()
				for _, last := range []time.Duration{20 * time.Second, 0, 2 * time.Second, 25 * time.Second, 10 * time.Second} {
					c.SetReadDeadline(start.Add(time.Second))
					w := newTestWaker()
					if !park(c, w) {
						t.Fatal("not parked")
					}
					if c.SetReadDeadline(time.Time{}); last != 0 {
						c.SetReadDeadline(start.Add(last))
					}
					<-time.After(1500 * time.Millisecond)
					if synctest.Wait(); len(w) != 0 {
						t.Fatal("woken before the deadline")
					}
					if last == 0 {
						c.SetReadDeadline(past)
						last = time.Since(start)
					}
					w.wait(t)
					if d := time.Since(start); d != last {
						t.Errorf("woken after %v, want %v", d, last)
					}
					start = time.Now()
				}
			})
		})
	}
}

func TestWrapCloseWriteUnsupported(t *testing.T) {
	withPipe(t, func(t *testing.T, c Conn, _ net.Conn) {
		if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v, want %v", err, errors.ErrUnsupported)
		}
	})
}
