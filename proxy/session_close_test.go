package proxy

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// refusals is how often a test has a connection refused over TCP: a reset comes about only
// now and then.
const refusals = 100

// A connection that rule connect refuses ends on a TLS listener by an alert, on another by
// an answer, and never by a reset.
func TestRefusedOverTCPWithoutReset(t *testing.T) {
	for _, l := range allListeners {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, (&fakeBackend{}).protocolFunc(l.Protocol.Name()), func(s *Server) {
				s.Limiter = newLimiter(t, limiter.Policy{Connect: limiter.Rate{Tokens: 1, Per: 1000 * time.Hour}})
			})
			first, _ := proxy.connectGreeted(t)
			defer first.Close()
			for range refusals {
				client := proxy.dial(t)
				if l.TLS == Implicit {
					client.expectAlert()
				} else {
					client.expect(map[string]string{"imap": "* BYE [UNAVAILABLE] …", "pop3": pop3Busy}[l.Name])
					client.expectEOF()
				}
				client.Close()
				want := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleConnect}
				if r := <-proxy.records; r.Verdict != want || r.End != EndRefused || r.Step != StepConnect {
					t.Fatalf("got record %+v, want verdict %+v in step %v", r, want, StepConnect)
				}
			}
		})
	}
}

// A stranger that finds the queue of handshakes full is refused in the same way.
func TestFullHandshakeQueueRefusesOverTCPWithoutReset(t *testing.T) {
	for _, l := range allListeners {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
			q := &proxy.handshakes
			held := make([]handshakeSlot, q.slots())
			for i := range held {
				q.acquire(&held[i])
			}
			for !q.full() {
				q.addStranger()
			}
			for range refusals {
				client := proxy.dial(t)
				if l.TLS == Implicit {
					client.expectAlert()
				} else {
					client.expect(map[string]string{"imap": "* OK …", "pop3": "+OK …"}[l.Name])
					client.send(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[l.Name])
					client.expect(map[string]string{"imap": "a1 NO [UNAVAILABLE] …", "pop3": "-ERR [SYS/TEMP] …"}[l.Name])
					client.expectEOF()
				}
				client.Close()
				if r := <-proxy.records; r.Verdict != overloaded || r.End != EndRefused || r.Handshake != HandshakeNone {
					t.Fatalf("got record %+v, want verdict %+v without a handshake", r, overloaded)
				}
			}
			for i := range held {
				q.release(&held[i])
			}
		})
	}
}

// A refused client that keeps sending cannot keep the session open.
func TestRefusedClientKeepsSending(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, (&fakeBackend{}).imap, func(s *Server) {
				s.Limiter = newLimiter(t, limiter.Policy{Connect: limiter.Rate{Tokens: 1, Per: 1000 * time.Hour}})
			})
			first, _ := proxy.connectGreeted(t)
			defer first.Close()
			client := proxy.dial(t)
			for data, err := testData(100_000, 1), error(nil); err == nil; {
				_, err = client.Write(data) // until the connection is reset
			}
			if r := <-proxy.records; r.End != EndRefused || r.Step != StepConnect {
				t.Errorf("got record %+v, want end %v in step %v", r, EndRefused, StepConnect)
			}
		})
	}
}

// endlessConn always has something to read, and notes what is done with it.
type endlessConn struct {
	netpoll.Conn
	read  int
	calls []string
	wrote []byte
}

func (c *endlessConn) Read(p []byte) (int, error) {
	c.read += len(p)
	return len(p), nil
}

func (c *endlessConn) Write(p []byte) (int, error) {
	c.calls = append(c.calls, "write")
	c.wrote = append(c.wrote, p...)
	return len(p), nil
}

func (c *endlessConn) CloseWrite() error {
	c.calls = append(c.calls, "close write")
	return nil
}

func (c *endlessConn) Close() error {
	c.calls = append(c.calls, "close")
	return c.Conn.Close()
}

// What a client keeps sending is discarded up to 64 KB, between the alert and the end of
// what is sent.
func TestCloseDiscardsABoundedAmount(t *testing.T) {
	for l, want := range map[*Listener][]byte{&imapsListener: internalError, &imapListener: nil} {
		_, far := newMemPair(clientAddr, proxyAddr)
		conn := &endlessConn{Conn: netpoll.Wrap(far)}
		server := &Server{Limiter: newLimiter(t, limiter.Policy{})}
		server.init()
		s := newSession(server, l, conn)
		s.client = dialogue.NewConn(conn)
		s.record.Step = StepConnect
		s.finish(refused(limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleConnect}))
		s.close()
		if conn.read != 64<<10 {
			t.Errorf("%s: got %d bytes discarded, want %d", l.Name, conn.read, 64<<10)
		}
		calls := []string{"close write", "close"}
		if want != nil {
			calls = slices.Insert(calls, 0, "write")
		}
		if !bytes.Equal(conn.wrote, want) || !slices.Equal(conn.calls, calls) {
			t.Errorf("%s: got %q with %x written, want %q with %x", l.Name, conn.calls, conn.wrote, calls, want)
		}
	}
}
