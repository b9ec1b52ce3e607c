package proxy

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// A forwarder does not meet the rules about connections, but each client that it names does.
// A refused client gets the answer of a refused login.
func TestNamedClientMeetsConnectionRules(t *testing.T) {
	for name, policy := range map[limiter.Rule]limiter.Policy{
		limiter.RuleConnect: {Connect: limiter.Rate{Tokens: 1, Per: time.Hour}}, limiter.RuleOpen: {Open: 1}, limiter.RuleOpenPrelogin: {OpenPrelogin: 1},
	} {
		for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
			t.Run(fmt.Sprint(name, " ", l.Name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindWebmail(t, l.Protocol, policy)
					ln := proxy.listen(l)
					for i := range 20 {
						client := proxy.connect(webmailAddr, ln)
						proxy.awaitGreeting(client, l)
						client.nameClient(l, fmt.Sprint("198.51.100.", i))
					}
					client := proxy.connect(webmailAddr, ln)
					proxy.awaitGreeting(client, l)
					command, _ := nameLine(l, "198.51.100.3")
					client.send(command)
					client.expect(map[string]string{"imap": "i " + imapBusy, "pop3": pop3Busy}[l.Protocol.Name()])
					client.expectClosed()
					if r := proxy.lastRecord(); r.Verdict.Rule != name || r.End != EndRefused || r.Client.Addr().String() != "198.51.100.3" || r.Step != StepConnect {
						t.Errorf("got end %v by rule %v for %v in step %v", r.End, r.Verdict.Rule, r.Client, r.Step)
					}
				})
			})
		}
	}
}

// A forwarder that logs in without naming a client is the client, and meets the rules about
// connections then.
func TestForwarderIsItsOwnSource(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy := newProxyBehindWebmail(t, l.Protocol, limiter.Policy{Connect: limiter.Rate{Tokens: 1, Per: time.Hour}})
		ln := proxy.listen(l)
		var clients []*peer
		for range 3 {
			client := proxy.connect(webmailAddr, ln)
			proxy.awaitGreeting(client, l)
			clients = append(clients, client)
		}
		clients[0].tryLogin(l, "wrong")
		login := map[string]string{"imap": "a1 LOGIN u right", "pop3": "AUTH PLAIN " + plain("u", "right")}[l.Protocol.Name()]
		clients[1].send(login)
		clients[1].expect(map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Busy}[l.Protocol.Name()])
		clients[1].expectClosed()
		if r := proxy.lastRecord(); r.Verdict.Rule != limiter.RuleConnect || r.Client.String() != webmailAddr {
			t.Errorf("got rule %v for %v", r.Verdict.Rule, r.Client)
		}
		clients[2].nameClient(l, namedClient)
		if !clients[2].tryLogin(l, "right") {
			t.Error("a client was refused because of its forwarder")
		}
	})
}

// More connections of forwarders than maxUnnamed count as their own until they name a client.
func TestTooManyUnnamedClientsAreOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{OpenPrelogin: 1})
		ln := proxy.listen(imapListener)
		var unnamed []*peer
		for range maxUnnamed {
			unnamed = append(unnamed, proxy.connectAndExpect(ln, webmailAddr, "* OK …"))
		}
		own := proxy.connectAndExpect(ln, webmailAddr, "* OK …")
		proxy.connectAndExpect(ln, webmailAddr, "* BYE …").expectClosed()
		own.nameClient(imapListener, namedClient) // and is no longer the webmail's own
		second := proxy.connectAndExpect(ln, webmailAddr, "* OK …")
		proxy.connectAndExpect(ln, webmailAddr, "* BYE …").expectClosed()
		unnamed[0].Close()
		unnamed[1].nameClient(imapListener, "198.51.100.10")
		synctest.Wait()
		for range 2 {
			proxy.connectAndExpect(ln, webmailAddr, "* OK …")
		}
		proxy.connectAndExpect(ln, webmailAddr, "* BYE …").expectClosed()
		for _, client := range []*peer{own, second} {
			client.login()
		}
		if n := proxy.unnamed.Load(); n != maxUnnamed {
			t.Errorf("got %d without a client, want %d", n, maxUnnamed)
		}
		proxy.finalRecords()
		if n := proxy.unnamed.Load(); n != 0 {
			t.Errorf("got %d without a client after all have ended, want 0", n)
		}
	})
}

// An operator can block a forwarder that an attacker controls, and a client behind it.
func TestBlockedForwarder(t *testing.T) {
	for name, tt := range map[string]struct {
		begin    func(*peer)
		blocked  string
		greeting string // of the next connection
	}{
		"before it names a client":       {func(*peer) {}, "10.1.0.2/32", "* BYE [UNAVAILABLE] …"},
		"after it has named one":         {func(c *peer) { c.nameClient(imapListener, namedClient) }, "10.1.0.2/32", "* BYE [UNAVAILABLE] …"},
		"after login":                    {func(c *peer) { c.nameClient(imapListener, namedClient); c.login() }, "10.1.0.2/32", "* BYE [UNAVAILABLE] …"},
		"a client behind it":             {func(c *peer) { c.nameClient(imapListener, namedClient) }, namedClient + "/32", "* OK …"},
		"a client behind it after login": {func(c *peer) { c.nameClient(imapListener, namedClient); c.login() }, namedClient + "/32", "* OK …"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
				ln := proxy.listen(imapListener)
				client := proxy.connectAndExpect(ln, webmailAddr, "* OK …")
				tt.begin(client)
				synctest.Wait()
				proxy.Limiter.SetLists(limiter.Lists{Blocked: []netip.Prefix{netip.MustParsePrefix(tt.blocked)}})
				if n := proxy.CloseFrom(proxy.Limiter.Blocked); n != 1 {
					t.Errorf("got %d closed, want 1", n)
				}
				client.expectEOF()
				next := proxy.connectAndExpect(ln, webmailAddr, tt.greeting)
				if tt.greeting != "* OK …" {
					next.expectClosed()
					return
				}
				command, _ := nameLine(imapListener, namedClient)
				next.send(command)
				next.expect("i " + imapBusy)
				next.expectClosed()
			})
		})
	}
}

// In observe mode no client is refused, and the verdict is in the record.
func TestNamedClientIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
		proxy.Observe(true)
		proxy.Limiter.SetLists(limiter.Lists{Blocked: []netip.Prefix{limiter.Source(namedIP)}})
		client := proxy.connectAndExpect(proxy.listen(imapListener), webmailAddr, "* OK …")
		client.nameClient(imapListener, namedClient)
		client.login()
		if r := proxy.finalRecord(); r.Verdict.Rule != limiter.RuleBlocked || !r.Observed {
			t.Errorf("got rule %v, observed %v", r.Verdict.Rule, r.Observed)
		}
	})
}

// The tickets of a forwarder make no account known: they are the same for all its users.
func TestForwarderIsNoDevice(t *testing.T) {
	for name, addrs := range map[string][]string{
		"that names clients": {namedClient, "203.0.113.99"},
		"that names none":    {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			eachTLSVersion(t, func(t *testing.T, version uint16) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, allRules())
					l := imapsListener
					l.Config = newCertificate(t, "mail.example.org").Server() // tickets depend on the time
					ln := proxy.listen(l)
					config := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
					for i, addr := range addrs {
						from := fmt.Sprintf("10.1.0.%d:1", 2+i*64)
						client := proxy.connect(from, ln)
						client.startTLS(config)
						client.expect("* OK …")
						if addr != "" {
							client.nameClient(l, addr)
						}
						s := proxy.only()
						if got := s.subjectNamed(dialogue.Request{}, "u"); got.Device != 0 || got.Resumed {
							t.Errorf("got device %v, resumed %v, want none", got.Device, got.Resumed)
						}
						if s.record.Resumed != (i > 0) {
							t.Errorf("got resumed %v at connection %d", s.record.Resumed, i)
						}
						client.login()
						client.Close()
						synctest.Wait()
					}
				})
			})
		})
	}
}

// Behind a balancer, it is the client in the PROXY header that may be a forwarder.
func TestForwarderBehindBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
		proxy.ProxyFrom = []netip.Prefix{limiter.Source(mustAddrPort(balancer).Addr())}
		ln := proxy.listen(imapListener)
		for from, want := range map[string]string{"10.1.0.2": namedClient, "203.0.113.7": "203.0.113.7"} {
			client := proxy.connect(balancer, ln)
			client.send(fmt.Sprintf("PROXY TCP4 %s 192.0.2.1 40000 143", from))
			client.expect("* OK …")
			client.nameClient(imapListener, namedClient)
			client.Close()
			if r := proxy.lastRecord(); r.Client.Addr().String() != want {
				t.Errorf("got client %v, want %v", r.Client, want)
			}
		}
	})
}

// A forwarder's handshakes do not wait behind those of strangers while it may still name a client.
func TestForwarderHandshakesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
		client := proxy.connectAndExpect(proxy.listen(imapListener), webmailAddr, "* OK …")
		if got := proxy.only().handshakeRank(); got != rankKnown {
			t.Errorf("got rank %v, want %v", got, rankKnown)
		}
		client.nameClient(imapListener, namedClient)
		if got := proxy.only().handshakeRank(); got != rankStranger {
			t.Errorf("got rank %v of a stranger behind it, want %v", got, rankStranger)
		}
	})
}
