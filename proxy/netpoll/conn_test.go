package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"syscall"
	"testing"
	"time"
)

// bigWrite is more octets than the socket buffers of both ends hold.
const bigWrite = 32 << 20

// zeros is what big writes send. All tests share it, since its pages take longer to
// allocate than the writes.
var zeros = make([]byte, bigWrite)

// eachBlocked runs a test with connections of each kind on which call waits already
// (where a Conn knows) and with some on which it is about to.
func eachBlocked(t *testing.T, call func(Conn) error, test func(t *testing.T, c Conn, peer *net.TCPConn, called <-chan error)) {
	eachKind(t, func(t *testing.T, _ Conn, _ *net.TCPConn) {
		open := kinds[path.Base(t.Name())]
		for i := range 4 {
			c, peer := open(t)
			called := make(chan error, 1)
			go func() { called <- call(c) }()
			if i%2 == 0 {
				awaitBlocked(t, c)
			}
			test(t, c, peer, called)
		}
	})
}

// resultOf waits for a call to return.
func resultOf(t *testing.T, called <-chan error) error {
	t.Helper()
	select {
	case err := <-called:
		return err
	case <-time.After(testTimeout):
		t.Fatal("the call has not returned")
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

// Data, the end, a deadline and Close end a read that waits.
func TestBlockedReadEnds(t *testing.T) {
	for name, s := range map[string]struct {
		do   func(c Conn, peer *net.TCPConn)
		want error
	}{
		"data":           {func(_ Conn, peer *net.TCPConn) { peer.Write([]byte("x")) }, nil},
		"half-close":     {func(_ Conn, peer *net.TCPConn) { peer.CloseWrite() }, io.EOF},
		"reset":          {func(_ Conn, peer *net.TCPConn) { peer.SetLinger(0); peer.Close() }, syscall.ECONNRESET},
		"deadline":       {func(c Conn, _ *net.TCPConn) { c.SetReadDeadline(soon()) }, os.ErrDeadlineExceeded},
		"both deadlines": {func(c Conn, _ *net.TCPConn) { c.SetDeadline(soon()) }, os.ErrDeadlineExceeded},
		"past":           {func(c Conn, _ *net.TCPConn) { c.SetReadDeadline(past) }, os.ErrDeadlineExceeded},
		"moved earlier": {func(c Conn, _ *net.TCPConn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(soon())
		}, os.ErrDeadlineExceeded},
		"moved later": {func(c Conn, _ *net.TCPConn) {
			c.SetReadDeadline(soon())
			c.SetReadDeadline(soon().Add(10 * time.Millisecond))
		}, os.ErrDeadlineExceeded},
		"close": {func(c Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			eachBlocked(t, readOne, func(t *testing.T, c Conn, peer *net.TCPConn, called <-chan error) {
				s.do(c, peer)
				if err := resultOf(t, called); !errors.Is(err, s.want) {
					t.Errorf("read: got %v, want %v", err, s.want)
				}
			})
		})
	}
}

func writeBig(c Conn) error {
	n, err := c.Write(zeros)
	if (n == bigWrite) != (err == nil) {
		return fmt.Errorf("wrote %d of %d octets with error %v", n, bigWrite, err)
	}
	return err
}

// A reading peer, a reset, a deadline and Close end a write that waits. Events of the
// reading side do not.
func TestBlockedWriteEnds(t *testing.T) {
	for name, s := range map[string]struct {
		do   func(c Conn, peer *net.TCPConn)
		want error
	}{
		"read":           {func(_ Conn, peer *net.TCPConn) { io.CopyN(io.Discard, peer, bigWrite) }, nil},
		"reset":          {func(_ Conn, peer *net.TCPConn) { peer.SetLinger(0); peer.Close() }, errReset},
		"deadline":       {func(c Conn, _ *net.TCPConn) { c.SetWriteDeadline(soon()) }, os.ErrDeadlineExceeded},
		"both deadlines": {func(c Conn, _ *net.TCPConn) { c.SetDeadline(soon()) }, os.ErrDeadlineExceeded},
		"past":           {func(c Conn, _ *net.TCPConn) { c.SetWriteDeadline(past) }, os.ErrDeadlineExceeded},
		"close":          {func(c Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
		"read, after events of the other direction": {func(c Conn, peer *net.TCPConn) {
			c.SetReadDeadline(past)
			peer.Write([]byte("data"))
			peer.CloseWrite()
			io.CopyN(io.Discard, peer, bigWrite)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			eachBlocked(t, writeBig, func(t *testing.T, c Conn, peer *net.TCPConn, called <-chan error) {
				s.do(c, peer)
				err := resultOf(t, called)
				if s.want == errReset && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
					err = errReset
				}
				if !errors.Is(err, s.want) {
					t.Errorf("write: got %v, want %v", err, s.want)
				}
			})
		})
	}
}

// errReset stands for the errors of a write after a reset.
var errReset = errors.New("ECONNRESET or EPIPE")

// A parked connection can be written to. Events of the writing side do not wake it.
func TestWriteWhileParked(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		c.SetNonblock(true)
		w := newTestWaker()
		if !c.Park(w) {
			t.Fatal("not parked")
		}
		data, got := pattern(bigWrite/4), make([]byte, bigWrite/4)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			written <- err
		}()
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("peer did not get what was written: %v", err)
		}
		if err := resultOf(t, written); err != nil {
			t.Error(err)
		}
		c.SetWriteDeadline(past)
		w.expectNone(t)
		peer.Write([]byte("x"))
		w.wait(t)
	})
}

func TestReadWhileWriting(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		data := pattern(bigWrite / 4)
		done := make(chan error, 2)
		go func() {
			_, err := peer.Write(data)
			done <- errors.Join(err, peer.CloseWrite())
		}()
		go func() {
			_, err := c.Write(data)
			done <- errors.Join(err, c.CloseWrite())
		}()
		echo := make(chan []byte, 1)
		go func() {
			got, _ := io.ReadAll(peer)
			echo <- got
		}()
		if got, err := readAll(t, c, 32<<10); err != io.EOF || !bytes.Equal(got, data) {
			t.Errorf("read %d octets, which are not those of the peer: %v", len(got), err)
		}
		if !bytes.Equal(<-echo, data) {
			t.Error("peer did not get what was written")
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

// Each direction can be closed before the other.
func TestHalfClose(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		c.Write([]byte("last"))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "last" || err != nil {
			t.Errorf("peer: got %q, %v, want %q and EOF", got, err, "last")
		}
		if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: got %v, want %v", err, syscall.EPIPE)
		}
		peer.Write([]byte("answer"))
		expectRead(t, c, "answer")
	})
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		peer.Write([]byte("last"))
		peer.CloseWrite()
		if got, err := readAll(t, c, 100); string(got) != "last" || err != io.EOF {
			t.Errorf("got %q, %v, want %q and EOF", got, err, "last")
		}
		c.Write([]byte("answer"))
		expectPeerRead(t, peer, "answer")
	})
}

// Reads and writes of no octets succeed in every state.
func TestEmptyReadAndWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		for _, p := range [][]byte{nil, {}} {
			if n, err := c.Write(p); n != 0 || err != nil {
				t.Errorf("wrote %d octets, %v", n, err)
			}
			if n, err := c.Read(p); n != 0 || err != nil {
				t.Errorf("read %d octets, %v", n, err)
			}
			peer.Write([]byte("data"))
			awaitReadable(t, c)
			if n, err := c.Read(p); n != 0 || err != nil {
				t.Errorf("with data: read %d octets, %v", n, err)
			}
			expectRead(t, c, "data")
		}
		peer.CloseWrite()
		awaitReadable(t, c)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("at the end: read %d octets, %v", n, err)
		}
	})
}

// Past deadlines stop reads and writes that would not have to wait, until they are
// moved.
func TestPastDeadline(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		peer.Write([]byte("data"))
		awaitReadable(t, c)
		for range 2 {
			c.SetDeadline(past)
			if n, err := c.Read(make([]byte, 9)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read %d octets, %v", n, err)
			}
			if n, err := c.Write([]byte("data")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("wrote %d octets, %v", n, err)
			}
		}
		c.SetDeadline(time.Time{})
		expectRead(t, c, "data")
		c.Write([]byte("back"))
		expectPeerRead(t, peer, "back")
	})
}

func TestOperationsAfterClose(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, peer *net.TCPConn) {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); len(got) != 0 || err != nil {
			t.Errorf("peer: got %q, %v, want EOF", got, err)
		}
		_, read := c.Read(make([]byte, 1))
		_, wrote := c.Write(make([]byte, 1))
		for name, err := range map[string]error{"read": read, "write": wrote, "close": c.Close(), "half-close": c.CloseWrite()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v, want %v", name, err, net.ErrClosed)
			}
		}
		if c.ParkUntilDeadline(newTestWaker()) || c.Park(newTestWaker()) {
			t.Error("parked after Close")
		}
		if got := c.RemoteAddr().String(); got != peer.LocalAddr().String() {
			t.Errorf("remote address: got %s, want %v", got, peer.LocalAddr())
		}
		_ = c.LocalAddr()
	})
}

// A tls.Conn remains usable after a read error only if the error is temporary.
func TestErrWouldBlockIsTemporary(t *testing.T) {
	if e := ErrWouldBlock; e.Timeout() || !e.Temporary() || e.Error() == "" { //nolint:staticcheck // crypto/tls uses Temporary
		t.Errorf("%v: timeout %v, temporary %v", e, e.Timeout(), e.Temporary()) //nolint:staticcheck // as above
	}
}
