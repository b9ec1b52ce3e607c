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

// much is more than the buffers of two kernels take.
const much = 32 << 20

// eachBlocked runs a test once with a Conn whose call waits already, as far as can
// be told, and some times with one that is about to.
func eachBlocked(t *testing.T, call func(Conn) error, test func(t *testing.T, c Conn, far *net.TCPConn, called <-chan error)) {
	eachKind(t, func(t *testing.T, first Conn, firstFar *net.TCPConn) {
		open := kinds[t.Name()[bytes.LastIndexByte([]byte(t.Name()), '/')+1:]]
		for i := range 4 {
			c, far := first, firstFar
			if i > 0 {
				c, far = open(t)
			}
			called := make(chan error, 1)
			go func() { called <- call(c) }()
			if i%2 == 0 {
				awaitWaiter(t, c)
			}
			test(t, c, far, called)
		}
	})
}

// outcomeOf waits until a call has returned.
func outcomeOf(t *testing.T, called <-chan error) error {
	t.Helper()
	select {
	case err := <-called:
		return err
	case <-time.After(truePatience):
		t.Fatal("the call goes on")
		return nil
	}
}

func readOne(c Conn) error {
	n, err := c.Read(make([]byte, 1))
	if n == 1 {
		return nil
	}
	return err
}

// A read that waits ends with a word, the end, its deadline and its connection.
func TestReadWaits(t *testing.T) {
	for name, s := range map[string]struct {
		do   func(c Conn, far *net.TCPConn)
		want error
	}{
		"word":           {func(_ Conn, far *net.TCPConn) { far.Write([]byte("w")) }, nil},
		"half-close":     {func(_ Conn, far *net.TCPConn) { far.CloseWrite() }, io.EOF},
		"reset":          {func(_ Conn, far *net.TCPConn) { far.SetLinger(0); far.Close() }, syscall.ECONNRESET},
		"deadline":       {func(c Conn, _ *net.TCPConn) { c.SetReadDeadline(soon()) }, os.ErrDeadlineExceeded},
		"both deadlines": {func(c Conn, _ *net.TCPConn) { c.SetDeadline(soon()) }, os.ErrDeadlineExceeded},
		"past":           {func(c Conn, _ *net.TCPConn) { c.SetReadDeadline(past) }, os.ErrDeadlineExceeded},
		"moved back": {func(c Conn, _ *net.TCPConn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(soon())
		}, os.ErrDeadlineExceeded},
		"moved on": {func(c Conn, _ *net.TCPConn) {
			c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			c.SetReadDeadline(time.Now().Add(40 * time.Millisecond))
		}, os.ErrDeadlineExceeded},
		"close": {func(c Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			eachBlocked(t, readOne, func(t *testing.T, c Conn, far *net.TCPConn, called <-chan error) {
				s.do(c, far)
				if err := outcomeOf(t, called); !errors.Is(err, s.want) {
					t.Errorf("read: %v, want %v", err, s.want)
				}
			})
		})
	}
}

func writeMuch(c Conn) error {
	n, err := c.Write(make([]byte, much))
	if (n == much) != (err == nil) {
		return errors.New("an error without need, or none")
	}
	return err
}

// A write that waits ends when the other end reads, or is gone, with its deadline
// and its connection. What it has to wait for is not what a read waits for.
func TestWriteWaits(t *testing.T) {
	for name, s := range map[string]struct {
		do   func(c Conn, far *net.TCPConn)
		want error
	}{
		"read":           {func(_ Conn, far *net.TCPConn) { io.CopyN(io.Discard, far, much) }, nil},
		"reset":          {func(_ Conn, far *net.TCPConn) { far.SetLinger(0); far.Close() }, errGone},
		"deadline":       {func(c Conn, _ *net.TCPConn) { c.SetWriteDeadline(soon()) }, os.ErrDeadlineExceeded},
		"both deadlines": {func(c Conn, _ *net.TCPConn) { c.SetDeadline(soon()) }, os.ErrDeadlineExceeded},
		"past":           {func(c Conn, _ *net.TCPConn) { c.SetWriteDeadline(past) }, os.ErrDeadlineExceeded},
		"close":          {func(c Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
		"words and reading deadlines do not matter": {func(c Conn, far *net.TCPConn) {
			c.SetReadDeadline(past)
			far.Write([]byte("word"))
			far.CloseWrite()
			io.CopyN(io.Discard, far, much)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			eachBlocked(t, writeMuch, func(t *testing.T, c Conn, far *net.TCPConn, called <-chan error) {
				s.do(c, far)
				err := outcomeOf(t, called)
				if s.want == errGone && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
					err = errGone
				}
				if !errors.Is(err, s.want) {
					t.Errorf("write: %v, want %v", err, s.want)
				}
			})
		})
	}
}

// errGone stands for what a write to nobody may return.
var errGone = errors.New("nobody is there")

// A parked connection can be written to, and is not woken by the room for it.
func TestWriteWhileParked(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		c.SetNonblock(true)
		b := newBell()
		if !c.Park(b) {
			t.Fatal("not parked")
		}
		words, got := noise(much), make([]byte, much)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(words)
			written <- err
		}()
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, words) {
			t.Errorf("something else came: %v", err)
		}
		if err := outcomeOf(t, written); err != nil {
			t.Error(err)
		}
		c.SetWriteDeadline(past)
		b.isQuiet(t)
		far.Write([]byte("x"))
		b.wait(t)
	})
}

// Much is read while as much is written.
func TestMuchBothWays(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		words := noise(much / 4)
		done := make(chan error, 2)
		go func() {
			_, err := far.Write(words)
			done <- errors.Join(err, far.CloseWrite())
		}()
		go func() {
			_, err := c.Write(words)
			done <- errors.Join(err, c.CloseWrite())
		}()
		back := make(chan []byte, 1)
		go func() {
			got, _ := io.ReadAll(far)
			back <- got
		}()
		if got, err := hearAll(t, c, 32<<10); err != io.EOF || !bytes.Equal(got, words) {
			t.Errorf("%d octets that are not those sent: %v", len(got), err)
		}
		if !bytes.Equal(<-back, words) {
			t.Error("the other end heard something else")
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

// Either end may have said its last word before the other.
func TestHalfClose(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		c.Write([]byte("last"))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(far); string(got) != "last" || err != nil {
			t.Errorf("the other end heard %q, %v", got, err)
		}
		if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("wrote behind the end: %v", err)
		}
		far.Write([]byte("answer"))
		wants(t, c, "answer")
	})
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		far.Write([]byte("last"))
		far.CloseWrite()
		if got, err := hearAll(t, c, 100); string(got) != "last" || err != io.EOF {
			t.Errorf("heard %q, %v", got, err)
		}
		c.Write([]byte("answer"))
		farWants(t, far, "answer")
	})
}

// Nothing is nothing.
func TestEmptyReadAndWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		for _, p := range [][]byte{nil, {}} {
			if n, err := c.Write(p); n != 0 || err != nil {
				t.Errorf("wrote %d octets, %v", n, err)
			}
			if n, err := c.Read(p); n != 0 || err != nil {
				t.Errorf("read %d octets, %v", n, err)
			}
			far.Write([]byte("word"))
			rest(t, c)
			if n, err := c.Read(p); n != 0 || err != nil {
				t.Errorf("read %d octets, %v of a word", n, err)
			}
			wants(t, c, "word")
		}
		far.CloseWrite()
		rest(t, c)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("read %d octets, %v at the end", n, err)
		}
	})
}

// A deadline that has passed stops reading and writing even where there is
// something to read and room to write, until it is moved.
func TestPastDeadline(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		far.Write([]byte("word"))
		rest(t, c)
		for range 2 {
			c.SetDeadline(past)
			if n, err := c.Read(make([]byte, 9)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read %d octets, %v", n, err)
			}
			if n, err := c.Write([]byte("word")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("wrote %d octets, %v", n, err)
			}
		}
		c.SetDeadline(time.Time{})
		wants(t, c, "word")
		c.Write([]byte("back"))
		farWants(t, far, "back")
	})
}

// A connection that is closed does nothing more.
func TestClosed(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		farWants(t, far, "")
		_, read := c.Read(make([]byte, 1))
		_, wrote := c.Write(make([]byte, 1))
		for name, err := range map[string]error{"read": read, "write": wrote, "close": c.Close(), "half-close": c.CloseWrite()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if c.ParkUntilDeadline(newBell()) || c.Park(newBell()) {
			t.Error("parked")
		}
		if got := c.RemoteAddr().String(); got != far.LocalAddr().String() {
			t.Errorf("came from %s, want %v", got, far.LocalAddr())
		}
		_ = c.LocalAddr()
	})
}

// Nothing says so in the way in which TLS goes on afterwards.
func TestNothing(t *testing.T) {
	if e := ErrWouldBlock; e.Timeout() || !e.Temporary() || e.Error() == "" { //nolint:staticcheck // it is what TLS asks
		t.Errorf("%v, timeout %v", e, e.Timeout())
	}
}
