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

// startShutdown begins a Shutdown with a time limit. The channel gets its result.
func (proxy *testProxy) startShutdown(drain time.Duration) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		ended <- proxy.Shutdown(ctx, Grace{Total: 24 * time.Hour})
	}()
	synctest.Wait()
	return ended
}

// receivedNow returns a value that c holds already.
func receivedNow[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	synctest.Wait()
	select {
	case v = <-c:
	default:
		t.Error("got nothing from the channel yet")
	}
	return v
}

// notReceived checks that c holds no value.
func notReceived[T any](t testing.TB, c <-chan T) {
	t.Helper()
	synctest.Wait()
	if len(c) > 0 {
		t.Errorf("got %v, want nothing yet", <-c)
	}
}

// shutdownAnswers are sent to clients before login.
var shutdownAnswers = map[string]string{
	"imap": "* BYE Server is shutting down, please try again later.",
	"pop3": "-ERR [SYS/TEMP] Server is shutting down, please try again later.",
}

func TestShutdownAnswersClients(t *testing.T) {
	for name, c := range map[string]struct {
		sends string // after the greeting
		step  Step
	}{
		"in the dialogue":   {"", StepDialogue},
		"within a command":  {"a1 LOG", StepDialogue},
		"within a literal":  {"a1 LOGIN {5+}\r\nab", StepDialogue},
		"within a response": {"a1 AUTHENTICATE PLAIN\r\nAAA", StepDialogue},
	} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				proxy := newTestProxy(t, l.Protocol, nil)
				client := proxy.connectGreeted(l)
				if l.Protocol.Name() == "pop3" {
					c.sends = strings.NewReplacer("a1 AUTHENTICATE", "AUTH", "a1 LOGIN {5+}\r\nab", "USER", "a1 LOG", "US").Replace(c.sends)
				}
				client.Write([]byte(c.sends))
				synctest.Wait()
				start := time.Now()
				ended := proxy.startShutdown(time.Hour)
				if strings.Contains(c.sends, "AUTH") {
					client.expect("+ ")
				}
				client.expect(shutdownAnswers[l.Protocol.Name()])
				client.expectEOF()
				if err := receivedNow(t, ended); err != nil {
					t.Errorf("Shutdown: got %v", err)
				}
				if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != c.step || time.Since(start) != 0 {
					t.Errorf("took %v with record %+v", time.Since(start), r)
				}
			})
		})
	}
}

// An attempt in the tarpit is void, and its client gets an answer.
func TestShutdownEndsTarpit(t *testing.T) {
	for name, more := range map[string]string{"sends nothing": "", "with a full buffer": strings.Repeat("x", 20_000)} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(oneLoginPerFiveSeconds())
				takeGlobalToken(proxy)
				client := proxy.connectGreeted(l)
				sendLogin(client, l, "right")
				client.Write([]byte(more))
				synctest.Wait()
				ended := proxy.startShutdown(time.Hour)
				if more == "" { // else the client sees a reset, for it sent what was not read
					client.expect(shutdownAnswers[l.Protocol.Name()])
					client.expectEOF()
				}
				if err := receivedNow(t, ended); err != nil {
					t.Errorf("Shutdown: got %v", err)
				}
				<-time.After(time.Minute)
				if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != limiter.Void || proxy.charged(clientIP) != 0 || len(fake.checked()) != 0 {
					t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
				}
				if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != StepTarpit {
					t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, StepTarpit)
				}
			})
		})
	}
}

// A client that has not been greeted gets no answer.
func TestShutdownBeforeGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		clear, secure := proxy.listen(imapListener), proxy.listen(imapsListener)
		headless, helloless := proxy.connect(balancer, clear), proxy.connect(clientAddr, secure)
		start := proxy.connect(clientAddr, secure)
		start.Write([]byte("\x16\x03\x01\x02\x00\x01"))
		synctest.Wait()
		ended := proxy.startShutdown(time.Hour)
		headless.expectEOF()
		helloless.expectEOF()
		start.expectEOF()
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		for _, r := range proxy.finalRecords() {
			if r.End != EndShutdown {
				t.Errorf("got record %+v, want End %v", r, EndShutdown)
			}
		}
	})
}

// A password that a backend is checking is answered first.
func TestShutdownWaitsForReplay(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy := newTestProxy(t, l.Protocol, (&fakeBackend{delay: 3 * time.Second}).protocolFunc(l.Protocol.Name()))
		proxy.setPolicy(sourceRule())
		client := proxy.connectGreeted(l)
		sendLogin(client, l, "wrong")
		synctest.Wait()
		start := time.Now()
		ended := proxy.startShutdown(time.Hour)
		client.expectNothing(2 * time.Second)
		notReceived(t, ended)
		client.expect(map[string]string{"imap": "a1 NO …", "pop3": "-ERR [AUTH] …"}[l.Protocol.Name()])
		client.expect(shutdownAnswers[l.Protocol.Name()])
		client.expectEOF()
		if err := receivedNow(t, ended); err != nil || proxy.charged(clientIP) != 1 {
			t.Errorf("Shutdown: %v; got %d tokens charged, want 1", err, proxy.charged(clientIP))
		}
		if r := proxy.finalRecord(); r.End != EndShutdown || proxy.settledAttempts()[0].Outcome != limiter.Denied || time.Since(start) != 3*time.Second {
			t.Errorf("got record %+v, want End %v", r, EndShutdown)
		}
	})
}

// A session that logs in during the shutdown is waited for like the others.
func TestShutdownDrains(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		slow := make(chan bool)
		proxy := newTestProxy(t, l.Protocol, func(b *peer) {
			if l.TLS == Implicit { // Shutdown comes during the dial, else during the replay
				<-slow
			}
			(&fakeBackend{onGreeted: func() { <-slow }}).protocolFunc(l.Protocol.Name())(b)
		})
		client := proxy.connectGreeted(l)
		sendLogin(client, l, "right")
		synctest.Wait()
		ended := proxy.startShutdown(time.Hour)
		close(slow)
		client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
		for range 10 {
			<-time.After(time.Minute)
			client.send("hello")
			client.expect("echo hello")
		}
		notReceived(t, ended)
		client.Close()
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		if r := proxy.finalRecord(); r.End != EndClient || r.Step != StepRelay {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndClient, StepRelay)
		}
	})
}

// When the time limit has passed sessions are closed, in TLS by close_notify.
func TestShutdownTimeLimit(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		cut := make(chan time.Time, 1)
		proxy, client := newRelayedClient(t, l, func(b *peer) {
			b.expectClosed()
			cut <- time.Now()
		})
		start := time.Now()
		ended := proxy.startShutdown(time.Minute)
		client.expectNothing(time.Minute - time.Second)
		notReceived(t, ended)
		client.expectEOF()
		if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v", err)
		}
		if took := (<-cut).Sub(start); took != time.Minute {
			t.Errorf("took %v, want %v", took, time.Minute)
		}
		if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != StepRelay {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, StepRelay)
		}
	})
}

func TestShutdownWithoutSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapListener)
		synctest.Wait()
		if err := proxy.Shutdown(t.Context(), Grace{Total: time.Hour}); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		if err := proxy.Shutdown(t.Context(), Grace{Total: time.Hour}); err != nil {
			t.Errorf("Shutdown again: got %v", err)
		}
		if err := proxy.Close(); err != nil {
			t.Errorf("Close: got %v", err)
		}
		near, _ := ln.dial(clientAddr)
		newClient(t, near).expectEOF()
		late := newMemListener(proxyAddr)
		if err := proxy.Serve(late, imapListener); !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: got %v", err)
		}
		if _, err := late.Accept(); err == nil {
			t.Error("the listener was not closed")
		}
		if err := new(Server).Shutdown(t.Context(), Grace{Total: time.Hour}); err != nil {
			t.Errorf("Shutdown of an unused server: got %v", err)
		}
	})
}
