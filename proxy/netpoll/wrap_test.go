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

// piped runs a test in a bubble, with a wrapped end of a pipe and its other end.
func piped(t *testing.T, test func(t *testing.T, c Conn, far net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := Wrap(near)
		defer c.Close()
		defer far.Close()
		c.SetNonblock(true)
		test(t, c, far)
	})
}

// A Conn need not be wrapped.
func TestWrapOfAConn(t *testing.T) {
	c := Wrap(&wrapped{})
	if Wrap(c) != c {
		t.Error("a Conn was wrapped")
	}
}

// What was read ahead is told in the order in which it came: the words, and then
// the end, which is not lost to an empty read nor to a deadline.
func TestWrapKeepsWhatItReadAhead(t *testing.T) {
	piped(t, func(t *testing.T, c Conn, far net.Conn) {
		b := newBell()
		c.Park(b)
		far.Write([]byte("word"))
		b.wait(t)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("empty read: %d octets, %v", n, err)
		}
		c.SetReadDeadline(past)
		if n, err := c.Read(make([]byte, 2)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("late read: %d octets, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		wants(t, c, "word")
		c.Park(b)
		far.Close()
		b.wait(t)
		c.SetReadDeadline(past)
		c.Read(make([]byte, 2))
		c.SetReadDeadline(time.Time{})
		for range 2 {
			if n, err := c.Read(make([]byte, 2)); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d octets, %v", n, err)
			}
			if c.Park(b) {
				t.Error("parked at the end")
			}
		}
	})
}

// A deadline wakes at its time and no earlier, however often it was moved.
func TestWrapWakesInTime(t *testing.T) {
	for name, park := range map[string]func(Conn, Waker) bool{"park": Conn.Park, "until deadline": Conn.ParkUntilDeadline} {
		t.Run(name, func(t *testing.T) {
			piped(t, func(t *testing.T, c Conn, _ net.Conn) {
				begun := time.Now()
				for _, last := range []time.Duration{20 * time.Second, 0, 2 * time.Second, 25 * time.Second, 10 * time.Second} {
					c.SetReadDeadline(begun.Add(time.Second))
					b := newBell()
					if !park(c, b) {
						t.Fatal("not parked")
					}
					if c.SetReadDeadline(time.Time{}); last != 0 {
						c.SetReadDeadline(begun.Add(last))
					}
					<-time.After(1500 * time.Millisecond)
					if synctest.Wait(); len(b) != 0 {
						t.Fatal("woken too early")
					}
					if last == 0 {
						c.SetReadDeadline(past)
						last = time.Since(begun)
					}
					b.wait(t)
					if d := time.Since(begun); d != last {
						t.Errorf("woken after %v, want %v", d, last)
					}
					begun = time.Now()
				}
			})
		})
	}
}

// A connection that cannot be half-closed says so.
func TestWrapCannotHalfClose(t *testing.T) {
	piped(t, func(t *testing.T, c Conn, _ net.Conn) {
		if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	})
}
