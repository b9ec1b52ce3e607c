package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// newProxyWithOpenPrelogin returns a proxy on which each source may have two connections
// before login.
func newProxyWithOpenPrelogin(t *testing.T, fake *fakeBackend, p limiter.Policy) *testProxy {
	proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
	p.OpenPrelogin = 2
	proxy.setPolicy(p)
	return proxy
}

// evictedClients are the clients of the connections that have been evicted so far.
func (proxy *testProxy) evictedClients() (clients []string) {
	synctest.Wait()
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	for _, r := range proxy.records {
		if r.End == EndEvicted {
			clients = append(clients, r.Client.String())
		}
	}
	return clients
}

// Once a source has as many connections before login as it may have, the oldest of them
// is evicted for the next, whatever it has sent so far. Neither other sources nor sessions
// that are logged in are evicted.
func TestEvictsOldestOfSource(t *testing.T) {
	for name, begin := range map[string]func(*testProxy, *peer, Listener){
		"idle":           func(proxy *testProxy, client *peer, l Listener) { proxy.awaitGreeting(client, l) },
		"before TLS":     func(*testProxy, *peer, Listener) {},
		"in a handshake": func(_ *testProxy, client *peer, _ Listener) { client.Write([]byte{22, 3, 1}) },
		"within a command": func(proxy *testProxy, client *peer, l Listener) {
			proxy.awaitGreeting(client, l)
			client.Write([]byte("a1 LOG"))
		},
		"after a command": func(proxy *testProxy, client *peer, l Listener) {
			proxy.awaitGreeting(client, l)
			client.send("a1 NOOP")
			client.expect("a1 OK …")
		},
		"after a denial": func(proxy *testProxy, client *peer, l Listener) {
			proxy.awaitGreeting(client, l)
			client.send("a1 LOGIN u wrong")
			client.expect("a1 NO …")
		},
		"within a literal": func(proxy *testProxy, client *peer, l Listener) {
			proxy.awaitGreeting(client, l)
			client.send("a1 LOGIN {300}")
			client.expect("+ …")
		},
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			if l.TLS != Implicit && (name == "before TLS" || name == "in a handshake") {
				continue
			}
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyWithOpenPrelogin(t, &fakeBackend{}, limiter.Policy{})
					ln := proxy.listen(l)
					loggedIn, other := proxy.connect(clientAddr, ln), proxy.connect("203.0.113.8:1", ln)
					proxy.awaitGreeting(loggedIn, l)
					loggedIn.login()
					proxy.awaitGreeting(other, l)
					for i := range 10 {
						client := proxy.connect(fmt.Sprintf("203.0.113.7:%d", i+1), ln)
						begin(proxy, client, l)
						if got, want := len(proxy.evictedClients()), max(0, i-1); got != want {
							t.Errorf("got %d evicted after %d connections, want %d", got, i+1, want)
						}
						<-time.After(evictAge)
					}
					for i, addr := range proxy.evictedClients() {
						if want := fmt.Sprintf("203.0.113.7:%d", i+1); addr != want {
							t.Errorf("got %s evicted, want %s", addr, want)
						}
					}
					other.login()
					if s := proxy.Stats(); s.Open != 4 || s.Relay != 2 {
						t.Errorf("got stats %+v, want Open %v, Relay %v", s, 4, 2)
					}
				})
			})
		}
	}
}

// A connection with an attempt under way is not evicted: neither from the tarpit nor while
// a backend is asked. If a source has only such connections, the next is refused.
func TestAttemptIsNotEvictedForItsSource(t *testing.T) {
	for name, policy := range map[string]limiter.Policy{"in the tarpit": oneLoginPerFiveSeconds(), "at a backend": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyWithOpenPrelogin(t, &fakeBackend{delay: time.Minute / 4}, policy)
				takeGlobalToken(proxy)
				ln := proxy.listen(imapListener)
				first := proxy.tryPassword(ln, "203.0.113.7:1", "wrong")
				idle := proxy.connectAndExpect(ln, "203.0.113.7:2", "* OK …")
				<-time.After(evictAge)
				second := proxy.tryPassword(ln, "203.0.113.7:3", "wrong")
				idle.expectEOF()
				proxy.connectAndExpect(ln, "203.0.113.7:4", "* BYE [UNAVAILABLE] "+busyText).expectEOF()
				synctest.Wait()
				proxy.mu.Lock()
				r := proxy.records[len(proxy.records)-1]
				proxy.mu.Unlock()
				if want := (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleOpenPrelogin}); r.Verdict != want || r.End != EndRefused {
					t.Errorf("got record %+v, want Verdict %v, End %v", r, want, EndRefused)
				}
				first.expect("a1 NO …")
				<-time.After(evictAge)
				proxy.connectAndExpect(ln, "203.0.113.7:5", "* OK …") // now the first is idle
				first.expectEOF()
				second.expect("a1 NO …")
			})
		})
	}
}

// Behind a load balancer the source is the one in the PROXY header, and a connection has
// none before its header.
func TestEvictsBySourceInProxyHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithOpenPrelogin(t, &fakeBackend{}, limiter.Policy{})
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		ln := proxy.listen(imapListener)
		var idle []*peer
		for range 5 {
			idle = append(idle, proxy.connect(balancer, ln))
		}
		for _, addr := range []string{"203.0.113.9", "203.0.113.9", "203.0.113.10", "203.0.113.9"} {
			client := proxy.connect(balancer, ln)
			client.Write([]byte("PROXY TCP4 " + addr + " 192.0.2.1 4711 143\r\n"))
			client.expect("* OK …")
			<-time.After(evictAge)
		}
		if got := proxy.evictedClients(); len(got) != 1 || got[0] != "203.0.113.9:4711" {
			t.Errorf("got %q evicted, want one of 203.0.113.9", got)
		}
		idle[0].expectNothing(time.Second)
	})
}

// A connection has evictAge to log in: until then the next one is refused.
func TestYoungConnectionsAreNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithOpenPrelogin(t, &fakeBackend{}, limiter.Policy{})
		ln := proxy.listen(imapListener)
		for range 2 {
			proxy.connectAndExpect(ln, clientAddr, "* OK …")
		}
		<-time.After(evictAge - 1)
		proxy.connectAndExpect(ln, clientAddr, "* BYE [UNAVAILABLE] "+busyText).expectEOF()
		<-time.After(1)
		proxy.connectAndExpect(ln, clientAddr, "* OK …")
		if got := proxy.evictedClients(); len(got) != 1 {
			t.Errorf("got %q evicted, want one", got)
		}
	})
}

// In observe mode nothing is evicted for a source.
func TestObserveModeEvictsNoneOfSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithOpenPrelogin(t, &fakeBackend{}, limiter.Policy{})
		proxy.Observe(true)
		ln := proxy.listen(imapListener)
		for range 5 {
			proxy.connectAndExpect(ln, clientAddr, "* OK …")
		}
		if got := proxy.evictedClients(); len(got) != 0 {
			t.Errorf("got %q evicted, want none", got)
		}
	})
}

// An evicted connection no longer counts for the limiter, although it is not closed yet.
// Closing it does not count it down again.
func TestEvictedConnectionIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithOpenPrelogin(t, &fakeBackend{}, limiter.Policy{})
		ln := proxy.listen(imapListener)
		for i := range 50 {
			proxy.connectAndExpect(ln, clientAddr, "* OK …")
			open := min(i+1, 2)
			if synctest.Wait(); proxy.Stats().Open != open {
				t.Fatalf("got %d connections open, want %d", proxy.Stats().Open, open)
			}
			<-time.After(evictAge)
		}
		if _, v := proxy.Limiter.Connect(time.Now(), clientIP); v.Rule != limiter.RuleOpenPrelogin {
			t.Errorf("got verdict %v on a third connection, want %v", v, limiter.RuleOpenPrelogin)
		}
	})
}
