package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// newRelayedClient returns a client that is logged in on a listener. The backend goes
// on as play does.
func newRelayedClient(t *testing.T, l Listener, play func(*peer)) (*testProxy, *peer) {
	t.Helper()
	return newRelayedClientWithIdle(t, l, time.Hour, play)
}

// newRelayedClientWithIdle is newRelayedClient with an idle limit.
func newRelayedClientWithIdle(t *testing.T, l Listener, idle time.Duration, play func(*peer)) (*testProxy, *peer) {
	t.Helper()
	proxy := newTestProxy(t, l.Protocol, func(b *peer) {
		b.readHeader()
		b.send(map[string]string{"imap": imapHello, "pop3": pop3Hello}[l.Protocol.Name()])
		b.readLine()
		b.send(map[string]string{"imap": "1 OK in", "pop3": "+OK in"}[l.Protocol.Name()])
		play(b)
	})
	proxy.Timeouts.Idle = idle
	client := proxy.connectGreeted(l)
	sendLogin(client, l, "right")
	client.expect(map[string]string{"imap": "a1 OK in", "pop3": "+OK in"}[l.Protocol.Name()])
	return proxy, client
}

// newTestRelay returns a relay without a session.
func newTestRelay(client, backend net.Conn) *relay {
	near, far := netpoll.Wrap(client), netpoll.Wrap(backend)
	r := newRelay(side{EndClient, near, near}, side{EndBackend, far, far}, func() {})
	r.idleLimit, r.lastMove, r.workers = time.Hour, time.Since(epoch), newWorkers()
	return r
}

var allListeners = []Listener{imapListener, imapsListener, pop3Listener, pop3sListener}

// forEachListener runs a test for each listener in a bubble.
func forEachListener(t *testing.T, test func(t *testing.T, l Listener)) {
	for _, l := range allListeners {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, l) })
		})
	}
}

// What one side has sent before the relay began is sent to the other first.
func TestRelaySendsReadAheadFirst(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		early, late := strings.Repeat("early ", 600), strings.Repeat("late ", 700)
		proxy := newTestProxy(t, l.Protocol, func(b *peer) {
			b.readHeader()
			b.send(map[string]string{"imap": imapHello, "pop3": pop3Hello}[l.Protocol.Name()])
			b.readLine()
			b.send(map[string]string{"imap": "1 OK in", "pop3": "+OK in"}[l.Protocol.Name()], late)
			b.expect(early, "then")
			b.send("now")
			b.expectEOF()
		})
		client := proxy.connectGreeted(l)
		login := map[string][]string{"imap": {"a1 LOGIN u p"}, "pop3": {"USER u", "PASS p"}}[l.Protocol.Name()]
		client.send(append(login, early)...)
		if l.Protocol.Name() == "pop3" {
			client.expect("+OK")
		}
		client.expect(map[string]string{"imap": "a1 OK in", "pop3": "+OK in"}[l.Protocol.Name()], late)
		client.send("then")
		client.expect("now")
		client.Close()
		r := proxy.finalRecord()
		if want := int64(len(early) + 2 + len("then\r\n")); r.FromClient != want {
			t.Errorf("got %d bytes from the client, want %d", r.FromClient, want)
		}
		if want := int64(len(late) + 2 + len("now\r\n")); r.ToClient != want {
			t.Errorf("got %d bytes to the client, want %d", r.ToClient, want)
		}
	})
}

// A client that has closed its sending direction still gets what the backend sends.
func TestHalfCloseByClient(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		answer := strings.Repeat("answer ", 30_000)
		proxy, client := newRelayedClient(t, l, func(b *peer) {
			b.expect("LAST")
			b.expectEOF()
			<-time.After(20 * time.Second)
			b.send(answer)
		})
		client.send("LAST")
		client.closeWrite()
		client.expect(answer)
		client.expectEOF()
		if r := proxy.finalRecord(); r.End != EndClient || r.Err != nil || r.Step != StepRelay || r.ToClient != int64(len(answer)+2) || r.FromClient != 6 {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndClient, StepRelay)
		}
	})
}

// A backend that has closed its sending direction still gets what the client sends.
func TestHalfCloseByBackend(t *testing.T) {
	for _, l := range []Listener{imapListener, pop3Listener} { // in TLS, Go's client closes both directions
		synctest.Test(t, func(t *testing.T) {
			proxy, client := newRelayedClient(t, l, func(b *peer) {
				b.send("LAST")
				b.closeWrite()
				b.expect("thanks")
				b.expectEOF()
			})
			client.expect("LAST")
			client.expectEOF()
			<-time.After(halfOpenClient - time.Second)
			client.send("thanks")
			client.Close()
			if r := proxy.finalRecord(); r.End != EndBackend || r.Err != nil || r.FromClient != 8 || r.ToClient != 6 {
				t.Errorf("got record %+v, want End %v", r, EndBackend)
			}
		})
	}
}

// A session that the backend ends is closed in order for the client, in TLS by
// close_notify.
func TestBackendEnds(t *testing.T) {
	for name, c := range map[string]struct {
		play func(*peer)
		err  bool
	}{
		"closes":          {func(b *peer) { b.send("* BYE") }, false},
		"resets":          {func(b *peer) { b.send("* BYE"); b.Conn.(*memConn).reset() }, true},
		"half-closes":     {func(b *peer) { b.send("* BYE"); b.closeWrite(); b.expectClosed() }, false},
		"after more data": {func(b *peer) { b.send("* BYE"); b.expect("hello") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				proxy, client := newRelayedClient(t, l, c.play)
				client.expect("* BYE")
				if name == "after more data" {
					client.send("hello")
				}
				client.expectEOF()
				client.Close()
				r := proxy.finalRecord()
				if r.End != EndBackend || r.Err != nil != c.err || r.Step != StepRelay || r.ToClient != 7 {
					t.Errorf("got record %+v, want End %v, Step %v", r, EndBackend, StepRelay)
				}
			})
		})
	}
}

// A client that closes or is lost ends the backend's connection.
func TestClientEnds(t *testing.T) {
	for name, leave := range map[string]func(client *peer, tcp *memConn){
		"closes":                      func(client *peer, _ *memConn) { client.Close() },
		"closes without close_notify": func(_ *peer, tcp *memConn) { tcp.Close() },
		"resets":                      func(_ *peer, tcp *memConn) { tcp.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, l := range []Listener{imapListener, imapsListener} {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, func(b *peer) {
						b.readHeader()
						b.send(imapHello)
						b.readLine()
						b.send("1 OK in")
						b.expect("hello")
						if _, err := b.readLine(); err == nil {
							t.Error("the backend got more")
						}
					})
					near, _ := proxy.listen(l).dial(clientAddr)
					client := newClient(t, near)
					proxy.awaitGreeting(client, l)
					client.send("a1 LOGIN u p")
					client.expect("a1 OK in")
					client.send("hello")
					start := time.Now()
					leave(client, near)
					if r := proxy.finalRecord(); r.End != EndClient || r.FromClient != 7 || time.Since(start) != 0 {
						t.Errorf("got record %+v, want End %v", r, EndClient)
					}
				})
			}
		})
	}
}

// A client that sends to a backend that has closed is disconnected, and gets what the
// backend sent before.
func TestBackendClosedWhileClientSends(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		_, client := newRelayedClient(t, l, func(b *peer) { b.send(strings.Repeat("bye ", 1000)) })
		for range 10 {
			client.send("hello?")
			synctest.Wait()
		}
		client.expect(strings.Repeat("bye ", 1000))
		client.expectClosed()
	})
}

// A backend that sends to a client that has closed is disconnected.
func TestClientClosedWhileBackendSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, client := newRelayedClient(t, imapListener, func(b *peer) {
			for {
				if _, err := b.Write([]byte("mail\r\n")); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		})
		client.expect("mail")
		client.Conn.(*memConn).end(false) // the proxy sees no EOF, as it has data to write
		start := time.Now()
		<-time.After(time.Minute)
		if s := proxy.Stats(); s.Open != 0 {
			t.Errorf("after %v: got stats %+v, want no session", time.Since(start), s)
		}
	})
}

func TestRelayStats(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy, client := newRelayedClient(t, l, (*peer).echo)
		synctest.Wait()
		if s := proxy.Stats(); s.Relay != 1 || s.Open != 1 || s.Tarpit != 0 {
			t.Errorf("got stats %+v, want Relay %v, Open %v, Tarpit %v", s, 1, 1, 0)
		}
		client.Close()
		synctest.Wait()
		if s := proxy.Stats(); s.Relay != 0 || s.Open != 0 {
			t.Errorf("got stats %+v, want Relay %v, Open %v", s, 0, 0)
		}
	})
}

// What is buffered for one session does not reach another.
func TestBuffersAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		ln := proxy.listen(imapListener)
		var clients []*peer
		for range 20 {
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 OK …")
			clients = append(clients, client)
		}
		for round := range 10 {
			for i, client := range clients {
				client.send(strings.Repeat(string(rune('a'+i)), 100*round+1))
			}
			for i, client := range clients {
				client.expect("echo " + strings.Repeat(string(rune('a'+i)), 100*round+1))
			}
		}
	})
}

// The end of a direction decides who has ended the session, and how the other side is
// closed.
func TestEndOfDirection(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		why    End  // if the client is read from and the backend written to
		reason bool // there is an error
		cut    bool
		eof    bool // the backend gets EOF
	}{
		"EOF":        {io.EOF, EndClient, false, false, true},
		"not read":   {errors.Join(errNotRead, io.ErrClosedPipe), EndBackend, true, false, false},
		"reset":      {errors.New("connection reset"), EndClient, true, true, false},
		"truncation": {io.ErrUnexpectedEOF, EndClient, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, near := newMemPair(clientAddr, proxyAddr)
				far, backend := newMemPair(proxyAddr, backendAddr)
				r := newTestRelay(near, far)
				r.ended(&r.backend, &r.client, c.err)
				_, err := near.Write([]byte("hello"))
				if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.cut {
					t.Errorf("aborted: got %t, want %t", cut, c.cut)
				}
				backend.SetReadDeadline(time.Now().Add(time.Second))
				_, err = backend.Read(make([]byte, 1))
				if eof := err == io.EOF; eof != c.eof {
					t.Errorf("EOF at the backend: got %t (%v), want %t", eof, err, c.eof)
				}
				r.ended(&r.client, &r.backend, errors.New("too late to be the reason"))
				if r.endBy != c.why || (r.err != nil) != c.reason {
					t.Errorf("got end %v (%v), want %v", r.endBy, r.err, c.why)
				}
			})
		})
	}
}
