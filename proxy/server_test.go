package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// Failing accepts slow the server down and do not end it.
func TestAcceptBacksOff(t *testing.T) {
	for name, c := range map[string]struct {
		err           error
		nofile, other uint64
	}{
		"EMFILE":  {&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}, 12, 0},
		"ENFILE":  {syscall.ENFILE, 12, 0},
		"aborted": {syscall.ECONNABORTED, 0, 12},
		"other":   {errors.New("whatever"), 0, 12},
		"closed":  {net.ErrClosed, 0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, nil)
				ln := proxy.listen(imapListener)
				pause, last := 5*time.Millisecond, time.Now()
				for i := range 11 {
					ln.fail(c.err)
					if took := time.Since(last); i > 0 && took != pause {
						t.Errorf("accept %d: after %v, want %v", i, took, pause)
					}
					if last = time.Now(); i > 0 {
						pause = min(2*pause, time.Second)
					}
				}
				if pause != time.Second {
					t.Errorf("last pause: got %v, want 1s", pause)
				}
				proxy.connect(clientAddr, ln).expect("* OK …")
				last = time.Now()
				ln.fail(c.err)
				proxy.connect(clientAddr, ln).expect("* OK …")
				if took := time.Since(last); took != 5*time.Millisecond {
					t.Errorf("pause after a success: got %v, want 5ms", took)
				}
				if s := proxy.Stats(); s.AcceptNoFile != c.nofile || s.AcceptOther != c.other {
					t.Errorf("got stats %+v", s)
				}
			})
		})
	}
}

// When descriptors run out the connection that has waited longest before login is
// evicted.
func TestEvictsWhenDescriptorsRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		ln := proxy.listen(imapListener)
		inside := proxy.connect(clientAddr, ln)
		inside.send("a1 LOGIN u right")
		inside.expect("* OK …", "a1 OK …")
		first, second := proxy.connect("203.0.113.8:1", ln), proxy.connect("203.0.113.9:1", ln)
		first.expect("* OK …")
		second.expect("* OK …")
		ln.fail(syscall.ECONNABORTED)
		synctest.Wait()
		if s := proxy.Stats(); s.Open != 3 {
			t.Errorf("got stats %+v, want Open %v", s, 3)
		}
		ln.fail(syscall.EMFILE)
		first.expectEOF()
		second.expectNothing(time.Second)
		inside.send("still here")
		inside.expect("echo still here")
		ln.fail(syscall.EMFILE)
		second.expectEOF()
		ln.fail(syscall.EMFILE) // none is left before login
		inside.send("still here")
		inside.expect("echo still here")
	})
}

// Several listeners share a server, and end with it.
func TestServeOnSeveralListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		one, other := proxy.listen(imapListener), proxy.listen(imapsListener)
		proxy.connect(clientAddr, one).expect("* OK …")
		proxy.awaitGreeting(proxy.connect(clientAddr, other), imapsListener)
		if s := proxy.Stats(); s.Open != 2 {
			t.Errorf("got stats %+v, want Open %v", s, 2)
		}
		for _, r := range proxy.finalRecords() {
			if r.Listener != "imap" && r.Listener != "imaps" {
				t.Errorf("got record %+v", r)
			}
		}
	})
}

// A connection that is accepted after Close is closed.
func TestAcceptAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		proxy.init()
		near, far := newMemPair(clientAddr, proxyAddr)
		proxy.Close()
		if proxy.accept(far, &imapListener) {
			t.Error("got the connection accepted")
		}
		newClient(t, near).expectEOF()
	})
}

// lateListener accepts one more connection after it was closed, as a kernel may.
type lateListener struct {
	*memListener
	last net.Conn
}

func (l *lateListener) Accept() (net.Conn, error) {
	conn, err := l.memListener.Accept()
	if err != nil && l.last != nil {
		conn, l.last = l.last, nil
		return conn, nil
	}
	return conn, err
}

func TestAcceptDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		near, far := newMemPair(clientAddr, proxyAddr)
		served := make(chan error, 1)
		go func() { served <- proxy.Serve(&lateListener{newMemListener(proxyAddr), far}, imapListener) }()
		synctest.Wait()
		proxy.Close()
		if err := receivedNow(t, served); err != ErrServerClosed {
			t.Errorf("Serve: got %v", err)
		}
		newClient(t, near).expectEOF()
	})
}

// A connection without IP addresses is served.
func TestConnectionWithoutAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, acceptLogin(func(b *peer) { b.send("* BYE") }))
		proxy.init()
		near, far := net.Pipe()
		if !proxy.accept(far, &imapListener) {
			t.Fatal("got the connection refused")
		}
		client := newClient(t, near)
		client.expect("* OK …")
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …", "* BYE")
		client.expectEOF() // at once: a pipe has no half-close
		if r := proxy.finalRecord(); r.Client.IsValid() || r.Local.IsValid() || r.End != EndBackend || r.Duration != 0 {
			t.Errorf("got record %+v, want End %v", r, EndBackend)
		}
	})
}

// IDs are unique, also over restarts.
func TestIDsAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapListener)
		for range 100 {
			proxy.connect(clientAddr, ln).Close()
		}
		seen := map[string]bool{}
		for _, r := range proxy.finalRecords() {
			if r.ID == "" || seen[r.ID] {
				t.Errorf("got ID %q twice", r.ID)
			}
			seen[r.ID] = true
		}
		if len(seen) != 100 {
			t.Errorf("got %d IDs, want 100", len(seen))
		}
		next := newTestProxy(t, dialogue.IMAP{}, nil) // as after a restart
		next.connect(clientAddr, next.listen(imapListener)).Close()
		if id := next.finalRecord().ID; seen[id] {
			t.Errorf("got ID %q again after a restart", id)
		}
	})
}
