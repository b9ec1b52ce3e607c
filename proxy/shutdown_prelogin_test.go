package proxy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// grace is how long the clients of these tests may log in.
const grace = 30 * time.Second

// startEnding begins a Shutdown without another time limit. The channel gets its result.
func (proxy *testProxy) startEnding(e Grace) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- proxy.Shutdown(context.Background(), e) }()
	synctest.Wait()
	return ended
}

// The answers to a login with the right password and with a wrong one.
var (
	acceptedAnswers = map[string]string{"imap": "a1 OK …", "pop3": "+OK Logged in."}
	deniedAnswers   = map[string]string{"imap": "a1 NO [AUTHENTICATIONFAILED] …", "pop3": "-ERR [AUTH] …"}
)

// expectAfter reads a line that must come after d.
func (p *peer) expectAfter(d time.Duration, line string) {
	p.t.Helper()
	start := time.Now()
	p.expect(line)
	if took := time.Since(start); took != d {
		p.t.Errorf("%s: %q took %v, want %v", p.name, line, took, d)
	}
}

// When the grace is over clients without an attempt get the shutdown answer, whatever they
// have sent.
func TestGraceEndsForIdleClients(t *testing.T) {
	for name, sends := range map[string]string{"idle": "", "within a command": "a1 LOG", "within a literal": "a1 LOGIN {5+}\r\nab"} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				proxy := newTestProxy(t, l.Protocol, nil)
				client := proxy.connectGreeted(l)
				if l.Protocol.Name() == "pop3" {
					sends = strings.NewReplacer("a1 LOGIN {5+}\r\nab", "USER", "a1 LOG", "US").Replace(sends)
				}
				client.Write([]byte(sends))
				ended := proxy.startEnding(Grace{grace, time.Hour})
				notReceived(t, ended)
				client.expectAfter(grace, shutdownAnswers[l.Protocol.Name()])
				client.expectEOF()
				if err := receivedNow(t, ended); err != nil {
					t.Errorf("Shutdown: got %v", err)
				}
				if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != StepDialogue {
					t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, StepDialogue)
				}
			})
		})
	}
}

// Clients that were connected may log in during the grace, after a denial too, and begin TLS
// for it.
func TestLoginDuringGrace(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
		client, ln := proxy.connectGreeted(l), proxy.listen(l)
		handshaking := proxy.connect(clientAddr, ln)
		ended := proxy.startEnding(Grace{grace, time.Hour})
		<-time.After(grace / 6)
		proxy.awaitGreeting(handshaking, l)
		for _, client := range []*peer{client, handshaking} {
			if l.TLS == Upgrade {
				upgradeTLS(client, l)
			}
			sendLogin(client, l, "wrong")
			client.expect(deniedAnswers[l.Protocol.Name()])
			sendLogin(client, l, "right")
			client.expect(acceptedAnswers[l.Protocol.Name()])
		}
		<-time.After(grace)
		for _, client := range []*peer{client, handshaking} {
			client.send("hello")
			client.expect("echo hello")
			client.Close()
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// A handshake or a PROXY header that is not complete when the grace is over ends.
func TestGraceEndsBeforeGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		proxy.Timeouts.Handshake = time.Hour
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		clear, secure := proxy.listen(imapListener), proxy.listen(imapsListener)
		clients := []*peer{proxy.connect(balancer, clear), proxy.connect(clientAddr, secure), proxy.connect(clientAddr, secure)}
		clients[2].Write([]byte("\x16\x03\x01\x02\x00\x01"))
		start := time.Now()
		ended := proxy.startEnding(Grace{grace, time.Hour})
		for _, client := range clients {
			client.expectEOF()
		}
		if err := receivedNow(t, ended); err != nil || time.Since(start) != grace {
			t.Errorf("Shutdown: took %v, %v; want %v", time.Since(start), err, grace)
		}
	})
}

// An attempt that is in the tarpit when the grace is over gets its answer, and is the last.
func TestGraceEndsInTarpit(t *testing.T) {
	for _, password := range []string{"right", "wrong"} {
		t.Run(password, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{delay: time.Second}).protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(oneLoginPerFiveSeconds())
				client := proxy.connectGreeted(l)
				takeGlobalToken(proxy)
				ended := proxy.startEnding(Grace{2 * time.Second, time.Hour})
				sendLogin(client, l, password) // the attempt is new in the grace
				if password == "wrong" {
					client.expectAfter(6*time.Second, deniedAnswers[l.Protocol.Name()])
					client.expectAfter(0, shutdownAnswers[l.Protocol.Name()])
					client.expectEOF()
				} else {
					client.expectAfter(5*time.Second, acceptedAnswers[l.Protocol.Name()])
					client.send("hello")
					client.expect("echo hello")
					notReceived(t, ended)
					client.Close()
				}
				if err := receivedNow(t, ended); err != nil {
					t.Errorf("Shutdown: got %v", err)
				}
				want := map[string]limiter.Outcome{"right": limiter.Accepted, "wrong": limiter.Denied}[password]
				if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != want || a[0].Waited != 5*time.Second {
					t.Errorf("got attempts %+v, want Outcome %v", a, want)
				}
			})
		})
	}
}

// A client that is to answer a challenge when the grace is over may do so.
func TestGraceEndsDuringExchange(t *testing.T) {
	for name, answer := range map[string]string{"accepted": "u right", "denied": "u wrong", "unanswered": ""} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				protocol := l.Protocol.Name()
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(protocol))
				client := proxy.connectGreeted(l)
				client.send(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[protocol])
				client.expect("+ …")
				ended := proxy.startEnding(Grace{2 * time.Second, time.Hour})
				<-time.After(4 * time.Second)
				switch name {
				case "accepted":
					client.send(b64(answer))
					client.expect(acceptedAnswers[protocol])
					client.Close()
				case "denied":
					client.send(b64(answer))
					client.expect(deniedAnswers[protocol], shutdownAnswers[protocol])
					client.expectEOF()
				default:
					start := time.Now()
					for err := error(nil); err == nil; {
						_, err = client.readLine()
					}
					if took := time.Since(start); took != roundTimeout-4*time.Second {
						t.Errorf("ended after %v, want %v", took, roundTimeout-4*time.Second)
					}
				}
				if err := receivedNow(t, ended); err != nil {
					t.Errorf("Shutdown: got %v", err)
				}
			})
		})
	}
}

// After a denial behind the end of the grace no other login is tried, though the client has
// sent it already.
func TestNoOtherAttemptAfterGrace(t *testing.T) {
	for name, e := range map[string]Grace{"grace": {time.Second, time.Hour}, "no grace": {0, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				fake := &fakeBackend{delay: 3 * time.Second}
				protocol := l.Protocol.Name()
				proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(protocol))
				client := proxy.connectGreeted(l)
				sends := map[string]string{"imap": "a1 LOGIN u wrong\r\na2 LOGIN u right", "pop3": "AUTH PLAIN " + plain("u", "wrong") + "\r\nAUTH PLAIN " + plain("u", "right")}
				client.send(sends[protocol])
				synctest.Wait()
				ended := proxy.startEnding(e)
				client.expectAfter(3*time.Second, deniedAnswers[protocol])
				client.expectAfter(0, shutdownAnswers[protocol])
				client.expectEOF()
				if err := receivedNow(t, ended); err != nil || len(fake.checked()) != 1 {
					t.Errorf("Shutdown: got %v with passwords %q checked, want one", err, fake.checked())
				}
			})
		})
	}
}

// A request that is complete when the grace ends is served, and the session ends with it.
func TestRequestAtEndOfGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair(clientAddr, proxyAddr)
		defer near.Close()
		defer far.Close()
		ss := newSession(&Server{}, &imapListener, far)
		ss.shutdownAfterAttempt() // behind the read of the request
		if ss.isStopped() != EndShutdown {
			t.Fatalf("got End %v without an attempt, want %v", ss.isStopped(), EndShutdown)
		}
		ss.setAttempting(true)
		if ss.isStopped() != EndClient {
			t.Errorf("got End %v with an attempt, want %v", ss.isStopped(), EndClient)
		}
		ss.setAttempting(false)
		if ss.isStopped() != EndShutdown {
			t.Errorf("got End %v after the attempt, want %v", ss.isStopped(), EndShutdown)
		}
		ss.stopNow(EndEvicted)
		if ss.setAttempting(true); ss.isStopped() != EndEvicted {
			t.Errorf("got End %v after an eviction, want %v", ss.isStopped(), EndEvicted)
		}
	})
}

// A Shutdown that is called while another runs ends what it would end, if that is earlier.
func TestSecondShutdownEndsEarlier(t *testing.T) {
	for name, c := range map[string]struct {
		first, second Grace
		prelogin      time.Duration // after the second, which comes after 10 s
		total         time.Duration
	}{
		"earlier":              {Grace{time.Minute, 12 * time.Hour}, Grace{5 * time.Second, time.Minute}, 5 * time.Second, time.Minute},
		"no grace":             {Grace{time.Minute, 12 * time.Hour}, Grace{0, 2 * time.Minute}, 0, 2 * time.Minute},
		"later":                {Grace{20 * time.Second, time.Minute}, Grace{time.Minute, time.Hour}, 10 * time.Second, 50 * time.Second},
		"earlier for sessions": {Grace{20 * time.Second, time.Hour}, Grace{time.Minute, 10 * time.Minute}, 10 * time.Second, 10 * time.Minute},
		"soon for sessions":    {Grace{20 * time.Second, time.Hour}, Grace{10 * time.Second, 20 * time.Second}, 10 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, busy := newRelayedClient(t, imapListener, (*peer).echo)
				waiting := proxy.connect("203.0.113.8:1", proxy.listen(imapListener))
				waiting.expect("* OK …")
				one := proxy.startEnding(c.first)
				<-time.After(10 * time.Second)
				start := time.Now()
				two := proxy.startEnding(c.second)
				waiting.expectAfter(c.prelogin, shutdownAnswers["imap"])
				waiting.expectEOF()
				for time.Since(start) < c.total-time.Second {
					busy.send("data")
					busy.expect("echo data")
					<-time.After(time.Second)
				}
				busy.expectEOF()
				if took := time.Since(start); took != c.total {
					t.Errorf("took %v, want %v", took, c.total)
				}
				for _, ended := range []<-chan error{one, two} {
					if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
					}
				}
			})
		})
	}
}

// The end of the context of one Shutdown ends all.
func TestContextEndsAllShutdowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, client := newRelayedClient(t, imapListener, (*peer).echo)
		first := proxy.startEnding(Grace{grace, time.Hour})
		start := time.Now()
		second := proxy.startShutdown(time.Minute)
		client.expectEOF()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v, want %v", took, time.Minute)
		}
		for _, ended := range []<-chan error{first, second} {
			if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
			}
		}
	})
}
