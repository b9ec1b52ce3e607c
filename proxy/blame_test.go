package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// A backend is not to blame for a gate without descriptors, nor for a client that
// has no time left.
func TestBackendIsNotToBlame(t *testing.T) {
	for _, fault := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		synctest.Test(t, func(t *testing.T) {
			g := two(t, 1, (&judge{}).imap, (&judge{}).imap)
			connect := g.backends.connect
			g.backends.connect = func(string, time.Time) (netpoll.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", fault)}
			}
			ln := g.open(imapDoor)
			p := g.from(clientAddr, ln)
			p.say("a1 LOGIN u right")
			p.hear("* OK …", "a1 "+imapBusy)
			stop := g.watch()
			for _, s := range g.backends.Stats() {
				if !s.Up || s.Logins != 0 || s.ProbeError != "" {
					t.Errorf("%v: stats %+v", fault, s)
				}
			}
			stop()
			g.backends.connect = connect
			p = g.from(clientAddr, ln)
			p.say("a1 LOGIN u right")
			p.hear("* OK …", "a1 OK …")
		})
	}
	for range 20 { // which of two timers rings first is for chance to say
		synctest.Test(t, func(t *testing.T) {
			hang := func(b *peer) { b.readHeader(); b.seeBreak() }
			g := two(t, 1, hang, hang)
			begun := time.Now()
			_, err := g.reach(begun.Add(2 * time.Second))
			if err == nil || time.Since(begun) != 2*time.Second || !g.stats(backendAddr).Up || !g.stats(otherAddr).Up {
				t.Errorf("%v after %v: %+v", err, time.Since(begun), g.backends.Stats())
			}
		})
	}
}

func TestReachWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		if _, err := g.reach(time.Now()); err == nil || !g.backends.Healthy() {
			t.Errorf("who is gone blames the backend: %v", err)
		}
		if _, err := g.reach(time.Now().Add(time.Minute)); err == nil || g.backends.Healthy() {
			t.Errorf("the backend is not to blame: %v", err)
		}
	})
}

// Whoever holds a backend may leave it in haste, and again at the end.
func TestLeavingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		up, err := g.reach(time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		up.close()
		up.close()
		if s := g.stats(backendAddr); s.Sessions != 0 || s.Logins != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDialResults(t *testing.T) {
	for _, c := range []struct {
		err  error
		want DialResult
	}{
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, DialRefused},
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, DialUnreachable},
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, DialTimeout},
		{&net.OpError{Err: os.ErrDeadlineExceeded}, DialTimeout},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, DialUnreachable},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, DialTimeout},
		{context.DeadlineExceeded, DialTimeout},
		{errors.New("whatever"), DialUnreachable},
	} {
		if got := dialResult(fmt.Errorf("dial: %w", c.err)); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
}

// reach enters a backend for nobody in particular, or has it blamed.
func (g *gate) reach(until time.Time) (*backendConn, error) {
	one, err := g.backends.requestSlot(&slotRequest{waiter: newWaiter(&session{server: &Server{}})})
	if err != nil {
		return nil, err
	}
	up, err := g.backends.login(one, clientInfo{}, until)
	if err != nil {
		g.backends.markFailed(one, err, until)
	}
	return up, err
}
