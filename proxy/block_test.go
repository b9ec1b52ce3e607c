package proxy

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// blockClient blocks the client's address as an operator does, and returns how many
// connections were closed.
func (proxy *testProxy) blockClient() int {
	proxy.t.Helper()
	proxy.Limiter.SetLists(limiter.Lists{Blocked: []netip.Prefix{limiter.Source(clientIP)}})
	n := proxy.CloseFrom(proxy.Limiter.Blocked)
	synctest.Wait()
	return n
}

// requireBlocked checks that the client gets nothing more but the end of the stream,
// and how the only connection ended.
func (proxy *testProxy) requireBlocked(client *peer, step Step) {
	proxy.t.Helper()
	client.expectEOF()
	if r := proxy.finalRecord(); r.End != EndBlocked || r.Step != step || r.Err != nil {
		proxy.t.Errorf("got record %+v, want End %v, Step %v", r, EndBlocked, step)
	}
}

func TestCloseFromBeforeLogin(t *testing.T) {
	for name, sends := range map[string]string{
		"in the dialogue":   "",
		"within a command":  "a1 LOG",
		"within a literal":  "a1 LOGIN {5+}\r\nab",
		"within a response": "a1 AUTHENTICATE PLAIN\r\nAAA",
	} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				sends := sends
				if l.Protocol.Name() == "pop3" && sends != "" {
					sends = map[string]string{"a1 LOG": "US", "a1 LOGIN {5+}\r\nab": "USER", "a1 AUTHENTICATE PLAIN\r\nAAA": "AUTH PLAIN\r\nAAA"}[sends]
				}
				proxy := newTestProxy(t, l.Protocol, nil)
				client := proxy.connectGreeted(l)
				client.Write([]byte(sends))
				if name == "within a response" {
					client.expect("+ ")
				}
				synctest.Wait()
				if n := proxy.blockClient(); n != 1 {
					t.Errorf("got %d closed, want 1", n)
				}
				proxy.requireBlocked(client, StepDialogue)
			})
		})
	}
}

func TestCloseFromBeforeTheHandshake(t *testing.T) {
	for name, begins := range map[string]string{"without a hello": "", "within a hello": "\x16\x03\x01\x02\x00\x01"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, nil)
				client := proxy.connect(clientAddr, proxy.listen(imapsListener))
				client.Write([]byte(begins))
				synctest.Wait()
				if n := proxy.blockClient(); n != 1 {
					t.Errorf("got %d closed, want 1", n)
				}
				proxy.requireBlocked(client, StepTLS)
			})
		})
	}
}

// An attempt in the tarpit, where its session is parked, is void.
func TestCloseFromTarpit(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
		proxy.setPolicy(oneLoginPerFiveSeconds())
		takeGlobalToken(proxy)
		client := proxy.connectGreeted(l)
		sendLogin(client, l, "right")
		synctest.Wait()
		if n := proxy.Stats().Tarpit; n != 1 {
			t.Fatalf("got %d in the tarpit, want 1", n)
		}
		start := time.Now()
		if n := proxy.blockClient(); n != 1 || time.Since(start) != 0 {
			t.Errorf("got %d closed in %v, want 1 at once", n, time.Since(start))
		}
		proxy.requireBlocked(client, StepTarpit)
		if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != limiter.Void || proxy.charged(clientIP) != 0 || len(fake.checked()) != 0 {
			t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
		}
	})
}

// A password that a backend has is settled by its answer, which the client does not get:
// neither that it is right nor that it is wrong.
func TestCloseFromDuringReplay(t *testing.T) {
	for password, outcome := range map[string]limiter.Outcome{"right": limiter.Accepted, "wrong": limiter.Denied} {
		t.Run(password, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				answer := make(chan bool)
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{onGreeted: func() { <-answer }}).protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(sourceRule())
				client := proxy.connectGreeted(l)
				sendLogin(client, l, password)
				synctest.Wait()
				if n := proxy.blockClient(); n != 1 {
					t.Errorf("got %d closed, want 1", n)
				}
				if n := proxy.blockClient(); n != 0 {
					t.Errorf("got %d closed again, want 0: it is ending", n)
				}
				close(answer)
				proxy.requireBlocked(client, StepReplay)
				want := 0
				if outcome == limiter.Denied {
					want = 1
				}
				if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != outcome || proxy.charged(clientIP) != want {
					t.Errorf("got attempts %+v, %d charged; want Outcome %v, %d charged", a, proxy.charged(clientIP), outcome, want)
				}
			})
		})
	}
}

// A client that must answer a challenge cannot any more.
func TestCloseFromDuringExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		client := proxy.connectGreeted(imapListener)
		client.send("a1 AUTHENTICATE CRAM-MD5")
		client.expect("+ …")
		proxy.blockClient()
		proxy.requireBlocked(client, StepReplay)
		if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != limiter.Void {
			t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
		}
	})
}

// Sessions end with close_notify in TLS: parked ones, and one that has data under way.
func TestCloseFromRelay(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		for _, busy := range []bool{false, true} {
			cut := make(chan bool, 1)
			proxy, client := newRelayedClient(t, l, func(b *peer) {
				if busy {
					b.send("data")
				}
				b.expectClosed()
				cut <- true
			})
			if busy {
				client.expect("data")
			} else {
				synctest.Wait()
			}
			if n := proxy.blockClient(); n != 1 {
				t.Errorf("got %d closed, want 1", n)
			}
			proxy.requireBlocked(client, StepRelay)
			<-cut
		}
	})
}

// Only connections that match are closed, by the address in the PROXY header where one is
// accepted. Health checks are not, and a connection without a header yet is refused when
// that comes.
func TestCloseFromMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		ln := proxy.listen(imapListener)
		neighbour := proxy.connectAndExpect(ln, "203.0.113.8:1", "* OK …")
		client := proxy.connectAndExpect(ln, clientAddr, "* OK …")
		check := proxy.connect(balancer, ln)
		check.Write([]byte("PROXY UNKNOWN\r\n"))
		check.expect("* OK …")
		late, behind := proxy.connect(balancer, ln), proxy.connect(balancer, ln)
		header := "PROXY TCP4 203.0.113.7 192.0.2.1 40001 143\r\n"
		behind.Write([]byte(header))
		behind.expect("* OK …")
		synctest.Wait()
		if n := proxy.CloseFrom(func(addr netip.Addr) bool { return addr == mustAddrPort(balancer).Addr() }); n != 0 {
			t.Errorf("got %d closed from the balancer, want 0", n)
		}
		if n := proxy.blockClient(); n != 2 {
			t.Errorf("got %d closed, want 2", n)
		}
		client.expectEOF()
		behind.expectEOF()
		late.Write([]byte(header))
		late.expect("* BYE [UNAVAILABLE] …")
		late.expectEOF()
		neighbour.login()
		check.send("a1 NOOP")
		check.expect("a1 OK …")
		rules := map[limiter.Rule]int{}
		for _, r := range proxy.finalRecords() {
			if rules[r.Verdict.Rule]++; r.Verdict.Rule == limiter.RuleBlocked && (r.End != EndRefused || r.Step != StepConnect) {
				t.Errorf("got record %+v, want End %v, Step %v", r, EndRefused, StepConnect)
			}
		}
		if rules[limiter.RuleBlocked] != 1 {
			t.Errorf("got rules %v, want %s once", rules, limiter.RuleBlocked)
		}
	})
}

// In observe mode a blocked client is served.
func TestBlockedIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.Observe(true)
		proxy.Limiter.SetLists(limiter.Lists{Blocked: []netip.Prefix{limiter.Source(clientIP)}})
		client := proxy.connectGreeted(imapListener)
		client.login()
		client.Close()
		if r := proxy.finalRecord(); r.End != EndClient || r.Verdict.Rule != limiter.RuleBlocked || !r.Observed {
			t.Errorf("got record %+v, want End %v, rule %s observed", r, EndClient, limiter.RuleBlocked)
		}
	})
}

// CloseFrom runs while sessions of both addresses begin and end in all steps. Afterwards no
// connection from the blocked one is left.
func TestCloseFromMissesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		ln := proxy.listen(imapListener)
		for i := range 200 {
			client := proxy.connect(clientAddr, ln)
			go func() {
				switch i % 4 {
				case 1:
					client.send("a1 LOGIN u wrong")
				case 2:
					client.send("a1 LOGIN u right")
				case 3:
					client.Close()
				}
			}()
			if i == 100 {
				proxy.Limiter.SetLists(limiter.Lists{Blocked: []netip.Prefix{limiter.Source(clientIP)}})
				proxy.CloseFrom(proxy.Limiter.Blocked)
			}
		}
		<-time.After(time.Second)
		if n := proxy.Stats().Open; n != 0 {
			t.Errorf("got %d open, want none", n)
		}
	})
}

// A session that waits for a handshake slot ends at once.
func TestCloseFromHandshakeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapsListener)
		defer proxy.takeHandshakeSlots()()
		client := proxy.connect(clientAddr, ln)
		go func() { _, _ = client.tryTLS(nil) }()
		synctest.Wait()
		if n := proxy.handshakes.inUse(); n != proxy.handshakes.slots()+1 {
			t.Fatalf("got %d handshakes in the queue or with a slot, want %d", n, proxy.handshakes.slots()+1)
		}
		if n := proxy.blockClient(); n != 1 || proxy.Stats().Open != 0 {
			t.Errorf("got %d closed, %d open; want 1, none", n, proxy.Stats().Open)
		}
		if r := proxy.finalRecord(); r.End != EndBlocked || r.Verdict == overloaded {
			t.Errorf("got record %+v, want End %v", r, EndBlocked)
		}
	})
}
