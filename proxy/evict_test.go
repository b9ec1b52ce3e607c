package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// newProxyWithMaxConnections returns a proxy with a limit of connections.
func newProxyWithMaxConnections(t *testing.T, most int, fake *fakeBackend) (*testProxy, *memListener) {
	proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
	p := sourceRule()
	p.KnownTTL = time.Hour
	proxy.setPolicy(p)
	proxy.MaxConnections = most
	return proxy, proxy.listen(imapListener)
}

// The connections that have waited longest before login are evicted, one for each new
// connection.
func TestEvictsLongestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 3, &fakeBackend{})
		var all []*peer
		for i := range 10 {
			all = append(all, proxy.connectAndExpect(ln, fmt.Sprintf("203.0.113.%d:1", i+1), "* OK …"))
			synctest.Wait()
			if n := proxy.Stats().Open; n > 3 {
				t.Errorf("got %d connections open, want at most 3", n)
			}
			if i >= 3 {
				all[i-3].expectEOF()
			}
		}
		evicted := 0
		for _, client := range all[7:] {
			client.Close()
		}
		for _, r := range proxy.finalRecords() {
			if r.End == EndEvicted {
				evicted++
			}
			if r.Verdict.Rule != limiter.RuleNone || r.Step != StepDialogue {
				t.Errorf("got record %+v, want Step %v", r, StepDialogue)
			}
		}
		if evicted != 7 {
			t.Errorf("got %d evicted, want 7", evicted)
		}
	})
}

// Connections from a source that a login was accepted from are evicted last.
func TestEvictsKnownSourcesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 4, &fakeBackend{})
		proxy.connectAndExpect(ln, "203.0.113.7:1", "* OK …").login()
		oldest := proxy.connectAndExpect(ln, "203.0.113.7:2", "* OK …")
		stranger := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		second := proxy.connectAndExpect(ln, "203.0.113.7:3", "* OK …")
		proxy.connectAndExpect(ln, "203.0.113.7:4", "* OK …")
		stranger.expectEOF()
		oldest.expectNothing(time.Second)
		proxy.connectAndExpect(ln, "203.0.113.7:5", "* OK …")
		oldest.expectEOF() // only known sources are left
		second.expectNothing(time.Second)
	})
}

// The search for a stranger is bounded, for the server is locked meanwhile.
func TestEvictionSearchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, evictScan+2, &fakeBackend{})
		proxy.connectAndExpect(ln, "203.0.113.7:1", "* OK …").login()
		oldest := proxy.connectAndExpect(ln, "203.0.113.7:2", "* OK …")
		for range evictScan - 1 {
			proxy.connectAndExpect(ln, "203.0.113.7:3", "* OK …")
		}
		stranger := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		proxy.connectAndExpect(ln, "198.51.100.2:1", "* OK …")
		oldest.expectEOF()
		stranger.expectNothing(time.Second)
		proxy.connectAndExpect(ln, "198.51.100.3:1", "* OK …") // now it is the last that the search looks at
		proxy.connectAndExpect(ln, "198.51.100.4:1", "* OK …")
		stranger.expectEOF()
	})
}

// When all connections are logged in the new one is refused, with an answer.
func TestRefusesWhenAllAreLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 2, &fakeBackend{})
		secure := proxy.listen(imapsListener)
		proxy.connectAndExpect(ln, "203.0.113.7:1", "* OK …").login()
		last := proxy.connectAndExpect(ln, "203.0.113.7:2", "* OK …")
		last.login()
		proxy.connectAndExpect(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busyText).expectEOF()
		proxy.connect("198.51.100.1:2", secure).expectAlert()
		synctest.Wait()
		proxy.mu.Lock()
		for _, r := range proxy.records {
			if want := (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleMaxConnections}); r.Verdict != want || r.End != EndRefused || r.Step != StepConnect {
				t.Errorf("got record %+v, want Verdict %v, End %v, Step %v", r, want, EndRefused, StepConnect)
			}
		}
		if len(proxy.records) != 2 {
			t.Errorf("got %d records, want 2", len(proxy.records))
		}
		proxy.mu.Unlock()
		last.Close()
		synctest.Wait()
		proxy.connectAndExpect(ln, "198.51.100.1:3", "* OK …")
	})
}

// A connection that is over the limit and not closed yet is not evicted for another.
func TestRefusedConnectionIsNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 1, &fakeBackend{})
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		proxy.connectAndExpect(ln, "203.0.113.7:1", "* OK …").login()
		proxy.connect(balancer, ln) // sends no header yet
		synctest.Wait()
		proxy.connectAndExpect(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busyText).expectEOF()
	})
}

// A connection whose client address is not known yet can be evicted.
func TestEvictsBeforeProxyHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 2, &fakeBackend{})
		proxy.ProxyFrom = append(proxy.ProxyFrom, limiter.Source(mustAddrPort(balancer).Addr()))
		idle := proxy.connect(balancer, ln)
		second := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		proxy.connectAndExpect(ln, "198.51.100.2:1", "* OK …")
		idle.expectEOF()
		second.expectNothing(time.Second)
	})
}

// A connection takes one descriptor before login and two after it. As many are accepted
// as fit.
func TestDescriptorsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 8, &fakeBackend{})
		proxy.MaxDescriptors = 8
		var all []*peer
		arrive := func(open int) {
			t.Helper()
			all = append(all, proxy.connectAndExpect(ln, fmt.Sprintf("203.0.%d.1:1", len(all)), "* OK …"))
			synctest.Wait()
			if n := proxy.Stats().Open; n != open {
				t.Errorf("got %d connections open, want %d", n, open)
			}
		}
		login := func(i, open, most int) {
			t.Helper()
			all[i].login()
			if s := proxy.Stats(); s.Open != open || s.MaxConnections != most {
				t.Errorf("got %d connections open of %d, want %d of %d", s.Open, s.MaxConnections, open, most)
			}
		}
		for i := range 7 {
			arrive(i + 1)
		}
		login(6, 7, 7) // all descriptors are in use
		login(5, 6, 6) // the first is evicted for it
		all[0].expectEOF()
		arrive(6) // the second is evicted for it
		all[1].expectEOF()
		login(4, 5, 5)
		login(7, 4, 4) // none is left before login
		all[2].expectEOF()
		all[3].expectEOF()
		proxy.connectAndExpect(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busyText).expectEOF()
		all[4].Close()
		synctest.Wait()
		arrive(4)
		arrive(5)
		login(8, 4, 4)
		all[9].expectEOF()
	})
}

// An attempt that is evicted from the tarpit is void, and its connection is closed at
// once.
func TestEvictedFromTheTarpit(t *testing.T) {
	for name, more := range map[string]string{"sends nothing": "", "with a full buffer": strings.Repeat("x", 20_000)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
				proxy.setPolicy(oneLoginPerFiveSeconds())
				proxy.MaxConnections = 1
				takeGlobalToken(proxy)
				ln := proxy.listen(imapListener)
				client := proxy.connectAndExpect(ln, clientAddr, "* OK …")
				client.send("a1 LOGIN u wrong")
				client.Write([]byte(more))
				synctest.Wait()
				proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
				synctest.Wait()
				if s := proxy.Stats(); s.Open != 1 || s.Tarpit != 0 {
					t.Errorf("got stats %+v, want Open %v, Tarpit %v", s, 1, 0)
				}
				client.expectClosed()
				<-time.After(time.Minute)
				if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != limiter.Void || len(fake.checked()) != 0 || proxy.charged(clientIP) != 0 {
					t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
				}
			})
		})
	}
}

func TestNoLimitOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 0, &fakeBackend{})
		for range 300 {
			proxy.connectAndExpect(ln, clientAddr, "* OK …")
		}
		if s := proxy.Stats(); s.Open != 300 || s.MaxConnections != 0 {
			t.Errorf("got stats %+v, want Open %v", s, 300)
		}
	})
}

// An attempt whose connection is evicted while a backend is asked, or dialled, is
// settled as the backend answers.
func TestEvictedDuringReplayIsSettled(t *testing.T) {
	for name, want := range map[string]limiter.Outcome{
		"replay wrong": limiter.Denied, "replay right": limiter.Accepted, "dial wrong": limiter.Denied, "dial right": limiter.Accepted,
	} {
		step, password, _ := strings.Cut(name, " ")
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := make(chan bool)
				fake := &fakeBackend{onGreeted: func() { <-slow }}
				proxy, ln := newProxyWithMaxConnections(t, 1, fake)
				if step == "dial" {
					proxy.setBackend(backendAddr, func(b *peer) {
						<-slow
						fake.imap(b)
					})
				}
				client := proxy.connectAndExpect(ln, clientAddr, "* OK …")
				client.send("a1 LOGIN u " + password)
				synctest.Wait()
				proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …").Close()
				close(slow)
				client.expect("a1 …")
				client.expectEOF()
				synctest.Wait()
				charged := map[limiter.Outcome]int{limiter.Denied: 1}[want]
				if a := proxy.settledAttempts(); len(a) != 1 || a[0].Outcome != want || proxy.charged(clientIP) != charged {
					t.Errorf("got attempts %+v and %d tokens charged, want outcome %v and %d", a, proxy.charged(clientIP), want, charged)
				}
				if s := proxy.Stats(); s.Relay != 0 || s.Open != 0 {
					t.Errorf("got stats %+v, want Relay %v, Open %v", s, 0, 0)
				}
				for _, r := range proxy.finalRecords() {
					if r.Client.String() == clientAddr && r.End != EndEvicted {
						t.Errorf("got record %+v, want End %v", r, EndEvicted)
					}
				}
			})
		})
	}
}

// A connection that was evicted and is not closed yet is not evicted again: another is
// evicted for the next new connection.
func TestEvictsEachConnectionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan bool)
		proxy, ln := newProxyWithMaxConnections(t, 2, &fakeBackend{onGreeted: func() { <-slow }})
		first := proxy.connectAndExpect(ln, clientAddr, "* OK …")
		first.send("a1 LOGIN u wrong")
		synctest.Wait()
		second := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		proxy.connectAndExpect(ln, "198.51.100.2:1", "* OK …") // the first is evicted, and closed once its attempt is settled
		proxy.connectAndExpect(ln, "198.51.100.3:1", "* OK …")
		second.expectEOF()
		close(slow)
		first.expect("a1 NO …")
		first.expectEOF()
	})
}
