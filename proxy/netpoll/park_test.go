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

// A parked connection is woken by a word, once for each time that it was parked.
func TestParkWakesForAWord(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		c.SetNonblock(true)
		var p [8]byte
		for range 100 {
			if n, err := c.Read(p[:]); err != ErrWouldBlock || n != 0 {
				t.Fatalf("read %d octets, %v before there was anything", n, err)
			}
			b := newBell()
			parked := c.Park(b)
			far.Write([]byte("one"))
			far.Write([]byte("two"))
			if parked {
				b.wait(t)
			}
			wants(t, c, "onetwo")
			if len(b) != 0 {
				t.Fatal("woken twice")
			}
		}
	})
}

// What ends a connection wakes it, and is told of behind what was said before it,
// however the two come.
func TestParkWakesForTheEnd(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(far *net.TCPConn)
		want error
	}{
		"half-close": {func(far *net.TCPConn) { far.CloseWrite() }, io.EOF},
		"close":      {func(far *net.TCPConn) { far.Close() }, io.EOF},
		"reset":      {func(far *net.TCPConn) { far.SetLinger(0); far.Close() }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
				c.SetNonblock(true)
				b := newBell()
				parked := c.Park(b)
				end.do(far)
				if parked {
					b.wait(t)
				}
				if got, err := hearAll(t, c, 8); len(got) != 0 || !errors.Is(err, end.want) {
					t.Errorf("heard %q, %v, want %v", got, err, end.want)
				}
				if _, err := hearAll(t, c, 8); err != io.EOF && !errors.Is(err, end.want) {
					t.Errorf("heard %v after the end", err)
				}
				b.isQuiet(t)
			})
		})
	}
}

// The end is not overlooked behind the last words, whether they fill the buffer or
// not, and whether reading has begun or not.
func TestEndBehindTheLastWords(t *testing.T) {
	sizes := []int{1, 7, 32, 63, 64, 65}
	for i := range 60 {
		eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
			words := noise(64)
			go func() {
				far.Write(words[:32])
				far.Write(words[32:])
				far.CloseWrite()
			}()
			got, err := hearAll(t, c, sizes[i%len(sizes)])
			if err != io.EOF || !bytes.Equal(got, words) {
				t.Errorf("heard %x, %v, want %x", got, err, words)
			}
		})
	}
}

// A deadline wakes a parked connection, wherever it was moved to meanwhile.
func TestParkWakesForItsDeadline(t *testing.T) {
	long := func() time.Time { return time.Now().Add(time.Hour) }
	for name, s := range map[string]struct {
		before, meanwhile func() time.Time // a deadline, if any
	}{
		"set before":     {soon, nil},
		"set meanwhile":  {nil, soon},
		"moved on":       {soon, func() time.Time { return soon().Add(20 * time.Millisecond) }},
		"moved back":     {long, soon},
		"moved to now":   {long, time.Now},
		"moved to past":  {long, func() time.Time { return past }},
		"set to past":    {nil, func() time.Time { return past }},
		"past all along": {func() time.Time { return past }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for way, park := range map[string]func(Conn, Waker) bool{"park": Conn.Park, "until deadline": Conn.ParkUntilDeadline} {
				t.Run(way, func(t *testing.T) {
					eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
						wakesForDeadline(t, c, park, s.before, s.meanwhile)
						c.SetReadDeadline(time.Time{})
						far.Write([]byte("on"))
						wants(t, c, "on")
					})
				})
			}
		})
	}
}

func wakesForDeadline(t *testing.T, c Conn, park func(Conn, Waker) bool, before, meanwhile func() time.Time) {
	c.SetNonblock(true)
	var due time.Time
	if before != nil {
		due = before()
		c.SetReadDeadline(due)
	}
	b := newBell()
	parked := park(c, b)
	if meanwhile != nil {
		due = meanwhile()
		c.SetReadDeadline(due)
	}
	for parked {
		b.wait(t)
		if parked = time.Now().Before(due) && park(c, b); parked && meanwhile == nil {
			t.Error("woken too early")
		}
	}
	if n, err := c.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d octets, %v after the deadline", n, err)
	}
	b.isQuiet(t)
}

// Each of many is woken at its own time, though all have moved it.
func TestEachAtItsTime(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			const many = 20
			begun := time.Now()
			var due [many]time.Time
			var bells [many]bell
			var conns [many]Conn
			for i := range many {
				conns[i], _ = open(t)
				conns[i].SetReadDeadline(begun.Add(time.Hour + time.Duration(i)*time.Minute))
				if bells[i] = newBell(); !conns[i].Park(bells[i]) {
					t.Fatal("not parked")
				}
			}
			conns[many-1].SetReadDeadline(soon()) // which is not the one that was next
			bells[many-1].wait(t)
			conns[many-1].SetReadDeadline(begun.Add(time.Hour))
			if !conns[many-1].Park(bells[many-1]) {
				t.Fatal("not parked again")
			}
			for i := range many {
				due[i] = time.Now().Add(time.Duration(10+i*7%many) * time.Millisecond)
				conns[i].SetReadDeadline(due[i])
			}
			for i := range many {
				bells[i].wait(t)
				if time.Now().Before(due[i]) {
					t.Error("woken too early")
				}
				if conns[i].Park(bells[i]) || conns[i].ParkUntilDeadline(bells[i]) {
					t.Error("parked after the deadline")
				}
			}
		})
	}
}

// A deadline that was moved on or taken away does not wake.
func TestParkSleepsBeyondItsFormerDeadline(t *testing.T) {
	for name, next := range map[string]time.Time{"moved on": time.Now().Add(time.Hour), "taken away": {}} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
				c.SetNonblock(true)
				for _, park := range []func(Conn, Waker) bool{Conn.Park, Conn.ParkUntilDeadline} {
					due := time.Now().Add(50 * time.Millisecond)
					c.SetReadDeadline(due)
					b := newBell()
					parked := park(c, b)
					c.SetReadDeadline(next)
					if !parked || time.Now().After(due) {
						t.Skip("this machine is too slow")
					}
					<-time.After(time.Until(due))
					b.isQuiet(t)
					c.SetReadDeadline(past)
					b.wait(t)
				}
			})
		})
	}
}

// Nobody parks where there is no need to wait.
func TestParkWhereThereIsSomething(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		c.SetNonblock(true)
		far.Write([]byte("word"))
		rest(t, c)
		for range 3 {
			if c.Park(newBell()) {
				t.Fatal("parked in spite of a word")
			}
		}
		wants(t, c, "word")
		far.CloseWrite()
		rest(t, c)
		if c.Park(newBell()) {
			t.Error("parked in spite of the end")
		}
	})
}

// Whoever naps is not woken by a word or the end, and hears them afterwards.
func TestNapHearsNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		c.SetNonblock(true)
		far.Write([]byte("before "))
		b := newBell()
		if !c.ParkUntilDeadline(b) {
			t.Fatal("does not nap")
		}
		far.Write([]byte("meanwhile"))
		far.CloseWrite()
		b.isQuiet(t)
		c.SetReadDeadline(past)
		b.wait(t)
		c.SetReadDeadline(time.Time{})
		if got, err := hearAll(t, c, 100); string(got) != "before meanwhile" || err != io.EOF {
			t.Errorf("heard %q, %v", got, err)
		}
	})
}

// Close wakes whoever has parked, and nobody parks afterwards.
func TestCloseWakes(t *testing.T) {
	for way, park := range map[string]func(Conn, Waker) bool{"park": Conn.Park, "until deadline": Conn.ParkUntilDeadline} {
		t.Run(way, func(t *testing.T) {
			eachKind(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
				c.SetNonblock(true)
				c.SetReadDeadline(time.Now().Add(time.Hour))
				b := newBell()
				if !park(c, b) {
					t.Fatal("not parked")
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				b.wait(t)
				if park(c, b) {
					b.wait(t) // at the latest
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("read %d octets, %v", n, err)
				}
			})
		})
	}
}
