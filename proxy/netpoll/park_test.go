package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

var past = time.Unix(1, 0)

func soon() time.Time { return time.Now().Add(10 * time.Millisecond) }

// parkFuncs are the two ways to park.
var parkFuncs = map[string]func(Conn, Waker) bool{"park": Conn.Park, "until deadline": Conn.ParkUntilDeadline}

func TestDataWakesOncePerPark(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		c.SetNonblock(true)
		var p [8]byte
		for range 100 {
			if n, err := c.Read(p[:]); err != ErrWouldBlock || n != 0 {
				t.Fatalf("read of nothing: got %d octets, %v, want %v", n, err, ErrWouldBlock)
			}
			w := newTestWaker()
			parked := c.Park(w)
			peer.Write([]byte("one"))
			peer.Write([]byte("two"))
			if parked {
				w.wait(t)
			}
			expectRead(t, c, "onetwo")
			if len(w) != 0 {
				t.Fatal("woken twice")
			}
		}
	})
}

// The end of a connection wakes it, and so does an error.
func TestEndWakes(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(peer *net.TCPConn)
		want error
	}{
		"half-close": {func(peer *net.TCPConn) { peer.CloseWrite() }, io.EOF},
		"close":      {func(peer *net.TCPConn) { peer.Close() }, io.EOF},
		"reset":      {func(peer *net.TCPConn) { peer.SetLinger(0); peer.Close() }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
				c.SetNonblock(true)
				w := newTestWaker()
				parked := c.Park(w)
				end.do(peer)
				if parked {
					w.wait(t)
				}
				if got, err := readAll(t, c, 8); len(got) != 0 || !errors.Is(err, end.want) {
					t.Errorf("got %q, %v, want %v", got, err, end.want)
				}
				if _, err := readAll(t, c, 8); err != io.EOF && !errors.Is(err, end.want) {
					t.Errorf("read after the end: got %v", err)
				}
				w.expectNone(t)
			})
		})
	}
}

// The end of the stream is seen whether or not the last data fills the buffer, and
// whether it comes before or during the read.
func TestEndIsSeenBehindData(t *testing.T) {
	sizes := []int{1, 7, 32, 63, 64, 65}
	for i := range 60 {
		eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
			data := pattern(64)
			go func() {
				peer.Write(data[:32])
				peer.Write(data[32:])
				peer.CloseWrite()
			}()
			got, err := readAll(t, c, sizes[i%len(sizes)])
			if err != io.EOF || !bytes.Equal(got, data) {
				t.Errorf("got %x, %v, want %x and EOF", got, err, data)
			}
		})
	}
}

// The deadline wakes a parked connection, wherever it was moved meanwhile.
func TestDeadlineWakes(t *testing.T) {
	inAnHour := func() time.Time { return time.Now().Add(time.Hour) }
	for name, s := range map[string]struct {
		before, meanwhile func() time.Time // a deadline, if any
	}{
		"set before":        {soon, nil},
		"set meanwhile":     {nil, soon},
		"moved later":       {soon, func() time.Time { return soon().Add(20 * time.Millisecond) }},
		"moved earlier":     {inAnHour, soon},
		"moved to now":      {inAnHour, time.Now},
		"moved to the past": {inAnHour, func() time.Time { return past }},
		"set to the past":   {nil, func() time.Time { return past }},
		"past before":       {func() time.Time { return past }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for way, park := range parkFuncs {
				t.Run(way, func(t *testing.T) {
					eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
						expectWakeAtDeadline(t, c, park, s.before, s.meanwhile)
						c.SetReadDeadline(time.Time{})
						peer.Write([]byte("data"))
						expectRead(t, c, "data")
					})
				})
			}
		})
	}
}

func expectWakeAtDeadline(t *testing.T, c Conn, park func(Conn, Waker) bool, before, meanwhile func() time.Time) {
	c.SetNonblock(true)
	var due time.Time
	if before != nil {
		due = before()
		c.SetReadDeadline(due)
	}
	w := newTestWaker()
	parked := park(c, w)
	if meanwhile != nil {
		due = meanwhile()
		c.SetReadDeadline(due)
	}
	for parked {
		w.wait(t)
		if parked = time.Now().Before(due) && park(c, w); parked && meanwhile == nil {
			t.Error("woken before the deadline")
		}
	}
	if n, err := c.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: got %d octets, %v", n, err)
	}
	w.expectNone(t)
}

// Each of many connections is woken at its own deadline after all have moved.
func TestManyDeadlines(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const many = 20
			start := time.Now()
			var due [many]time.Time
			var wakers [many]testWaker
			var conns [many]Conn
			for i := range many {
				conns[i], _ = open(t)
				conns[i].SetReadDeadline(start.Add(time.Hour + time.Duration(i)*time.Minute))
				if wakers[i] = newTestWaker(); !conns[i].Park(wakers[i]) {
					t.Fatal("not parked")
				}
			}
			conns[many-1].SetReadDeadline(soon()) // was not the first of the heap
			wakers[many-1].wait(t)
			conns[many-1].SetReadDeadline(start.Add(time.Hour))
			if !conns[many-1].Park(wakers[many-1]) {
				t.Fatal("not parked again")
			}
			for i := range many {
				due[i] = time.Now().Add(time.Duration(10+i*7%many) * time.Millisecond)
				conns[i].SetReadDeadline(due[i])
			}
			for i := range many {
				wakers[i].wait(t)
				if time.Now().Before(due[i]) {
					t.Error("woken before the deadline")
				}
				if conns[i].Park(wakers[i]) || conns[i].ParkUntilDeadline(wakers[i]) {
					t.Error("parked after the deadline")
				}
			}
		})
	}
}

// A deadline that was moved later or cleared does not wake at its former time.
func TestFormerDeadlineDoesNotWake(t *testing.T) {
	for name, next := range map[string]time.Time{"moved later": time.Now().Add(time.Hour), "cleared": {}} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
				c.SetNonblock(true)
				for _, park := range parkFuncs {
					former, w := parkAndMoveDeadline(t, c, park, next)
					<-time.After(time.Until(former))
					w.expectNone(t)
					c.SetReadDeadline(past)
					w.wait(t)
				}
			})
		})
	}
}

// parkAndMoveDeadline parks c with a near deadline and moves it to next before it has
// passed. It returns the former deadline. On a busy machine it takes several attempts.
func parkAndMoveDeadline(t *testing.T, c Conn, park func(Conn, Waker) bool, next time.Time) (former time.Time, w testWaker) {
	t.Helper()
	for wait := 10 * time.Millisecond; wait < testTimeout; wait *= 2 {
		former, w = time.Now().Add(wait), newTestWaker()
		c.SetReadDeadline(former)
		parked := park(c, w)
		c.SetReadDeadline(next)
		if parked && time.Now().Before(former) {
			return former, w
		}
		if parked {
			c.SetReadDeadline(past)
			w.wait(t)
		}
	}
	t.Fatal("the deadline was never moved in time")
	return
}

func TestParkFailsWhenReadable(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		c.SetNonblock(true)
		peer.Write([]byte("data"))
		awaitReadable(t, c)
		for range 3 {
			if c.Park(newTestWaker()) {
				t.Fatal("parked while there is data")
			}
		}
		expectRead(t, c, "data")
		peer.CloseWrite()
		awaitReadable(t, c)
		if c.Park(newTestWaker()) {
			t.Error("parked at the end of the stream")
		}
	})
}

// Data and the end do not wake from ParkUntilDeadline, and are read afterwards.
func TestParkUntilDeadlineIgnoresData(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		c.SetNonblock(true)
		peer.Write([]byte("before "))
		w := newTestWaker()
		if !c.ParkUntilDeadline(w) {
			t.Fatal("not parked")
		}
		peer.Write([]byte("meanwhile"))
		peer.CloseWrite()
		w.expectNone(t)
		c.SetReadDeadline(past)
		w.wait(t)
		c.SetReadDeadline(time.Time{})
		if got, err := readAll(t, c, 100); string(got) != "before meanwhile" || err != io.EOF {
			t.Errorf("got %q, %v, want all data and EOF", got, err)
		}
	})
}

func TestCloseWakes(t *testing.T) {
	for way, park := range parkFuncs {
		t.Run(way, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
				c.SetNonblock(true)
				c.SetReadDeadline(time.Now().Add(time.Hour))
				w := newTestWaker()
				if !park(c, w) {
					t.Fatal("not parked")
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				w.wait(t)
				if park(c, w) {
					w.wait(t) // a wrapped connection may be woken by a read of its own
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("read: got %d octets, %v, want %v", n, err, net.ErrClosed)
				}
			})
		})
	}
}
