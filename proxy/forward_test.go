package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Addresses of the site's webmail, and of a client that it names.
const (
	webmailAddr = "10.1.0.2:40000"
	namedClient = "198.51.100.9"
)

var namedIP = netip.MustParseAddr(namedClient)

// newProxyBehindWebmail returns a proxy that takes 10.1.0.0/24 for forwarders.
func newProxyBehindWebmail(t *testing.T, p dialogue.Protocol, policy limiter.Policy) *testProxy {
	proxy := newTestProxy(t, p, (&fakeBackend{}).protocolFunc(p.Name()))
	proxy.ForwardedFrom = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}
	proxy.setPolicy(policy)
	return proxy
}

// nameLine is the command that names a client, with its answers.
func nameLine(l Listener, client string) (command string, answers []string) {
	if l.Protocol.Name() == "imap" {
		return fmt.Sprintf(`i ID ("x-session-id" "s1" "X-Originating-IP" %q "x-originating-port" "4711")`, client), []string{"* ID NIL", "i OK ID completed."}
	}
	return "XCLIENT ADDR=" + client + " PORT=4711 SESSION=s1 TTL=3", []string{"+OK"}
}

// nameClient names a client, whose address may be any text.
func (p *peer) nameClient(l Listener, client string) {
	p.t.Helper()
	command, answers := nameLine(l, client)
	p.send(command)
	p.expect(answers...)
}

// tryLogin logs in and returns whether that was accepted.
func (p *peer) tryLogin(l Listener, password string) bool {
	p.t.Helper()
	sendLogin(p, l, password)
	line, err := p.readLine()
	if err != nil {
		p.fail("login: %v", err)
	}
	return strings.HasPrefix(line, "a1 OK") || strings.HasPrefix(line, "+OK")
}

// The client that a forwarder names is the client in the record, in the attempt, for the
// limiter and for the backend.
func TestNamedClientCounts(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		fake := &fakeBackend{}
		headers := make(chan string, 1)
		proxy := newProxyBehindWebmail(t, l.Protocol, sourceRule())
		proxy.setBackend(backendAddr, func(b *peer) {
			b.readHeader()
			headers <- b.header.SourceAddr.String()
			b.send(map[string]string{"imap": imapHello, "pop3": pop3Hello}[l.Protocol.Name()])
			fake.serveLogin(b, l.Protocol.Name())
		})
		client := proxy.connect(webmailAddr, proxy.listen(l))
		proxy.awaitGreeting(client, l)
		client.nameClient(l, namedClient)
		if l.TLS != Implicit { // what was named before TLS still counts
			upgradeTLS(client, l)
		}
		if client.tryLogin(l, "wrong") {
			t.Error("a wrong password was accepted")
		}
		if got, want := <-headers, namedClient+":4711"; got != want {
			t.Errorf("got %v in the PROXY header, want %v", got, want)
		}
		if got, webmail := proxy.charged(namedIP), proxy.charged(mustAddrPort(webmailAddr).Addr()); got != 1 || webmail != 0 {
			t.Errorf("got %d tokens charged to the client and %d to the webmail, want 1 and 0", got, webmail)
		}
		a, r := proxy.settledAttempts()[0], proxy.finalRecord()
		for name, got := range map[string]Attempt{"attempt": a, "record": {Client: r.Client, Forwarder: r.Forwarder, ForwarderSession: r.ForwarderSession}} {
			if got.Client.String() != namedClient+":4711" || got.Forwarder.String() != webmailAddr || got.ForwarderSession != "s1" {
				t.Errorf("%s: got client %v, forwarder %v and session %q", name, got.Client, got.Forwarder, got.ForwarderSession)
			}
		}
		if want := (ForwardedCounts{Taken: 1}); r.Forwarded != want || r.Step != StepDialogue {
			t.Errorf("got %+v in step %v, want %+v", r.Forwarded, r.Step, want)
		}
	})
}

// A Dovecot in front sends ID, STARTTLS or its login without waiting for answers.
func TestClientNamedInOneWriteWithLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
		client := proxy.connectAndExpect(proxy.listen(imapListener), webmailAddr, "* OK …")
		command, answers := nameLine(imapListener, namedClient)
		client.send(command, "a1 LOGIN u right")
		client.expect(append(answers, "a1 OK …")...)
		if a := proxy.settledAttempts()[0]; a.Client.Addr() != namedIP {
			t.Errorf("got client %v, want %v", a.Client, namedIP)
		}
	})
}

// What other clients name changes nothing, and its answer is what every client gets.
func TestOthersMayNotNameClients(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy := newProxyBehindWebmail(t, l.Protocol, sourceRule())
		client := proxy.connectGreeted(l)
		command, answers := nameLine(l, namedClient)
		if l.Protocol.Name() == "pop3" {
			answers = []string{"-ERR Unknown command, or not before login."}
		}
		client.send(command)
		client.expect(answers...)
		client.tryLogin(l, "wrong")
		if proxy.charged(namedIP) != 0 || proxy.charged(clientIP) != 1 {
			t.Error("a token was charged to the address that a client has named")
		}
		if r, want := proxy.finalRecord(), (ForwardedCounts{Ignored: 1}); r.Forwarded != want || r.Client.Addr() != clientIP || r.Forwarder.IsValid() {
			t.Errorf("got %+v of client %v, forwarder %v", r.Forwarded, r.Client, r.Forwarder)
		}
	})
}

func TestPOP3OffersXClientToForwardersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindWebmail(t, dialogue.POP3{}, limiter.Policy{})
		ln := proxy.listen(pop3Listener)
		proxy.connectAndExpect(ln, webmailAddr, "+OK [XCLIENT] Ready.")
		proxy.connectAndExpect(ln, clientAddr, "+OK Ready.")
	})
}

// An address that cannot be a client's is not taken, and a valid one later is not either.
func TestForwarderNamesNoClient(t *testing.T) {
	for _, addr := range []string{
		"", "unknown", "198.51.100", "198.51.100.9, 198.51.100.10", "198.51.100.0/24", "198.51.100.9:80", "mail.example.org",
		"127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "169.254.1.1", "fe80::1", "fe80::1%eth0",
		"2001:db8::1%eth0", "10.1.0.3", "::ffff:10.1.0.3", "10.2.0.1",
	} {
		t.Run(addr, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, sourceRule())
				proxy.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.2.0.1/32")}
				client := proxy.connectAndExpect(proxy.listen(imapListener), webmailAddr, "* OK …")
				client.nameClient(imapListener, addr)
				client.nameClient(imapListener, namedClient)
				client.tryLogin(imapListener, "wrong")
				if r, want := proxy.finalRecord(), (ForwardedCounts{Ignored: 1, Invalid: 1}); r.Forwarded != want || r.Client.String() != webmailAddr || r.Forwarder.IsValid() {
					t.Errorf("got %+v of client %v, forwarder %v", r.Forwarded, r.Client, r.Forwarder)
				}
			})
		})
	}
}

// Addresses in other spellings, and private ones, are clients'.
func TestForwarderNamesClient(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.9": "198.51.100.9", "::ffff:198.51.100.9": "198.51.100.9", "2001:DB8::9": "2001:db8::9",
		"10.7.7.7": "10.7.7.7", "192.168.1.2": "192.168.1.2", "fd00::9": "fd00::9",
	} {
		for _, l := range []Listener{imapListener, pop3Listener} {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindWebmail(t, l.Protocol, limiter.Policy{})
				client := proxy.connect(webmailAddr, proxy.listen(l))
				proxy.awaitGreeting(client, l)
				client.nameClient(l, addr)
				if r := proxy.finalRecord(); r.Client.Addr().String() != want {
					t.Errorf("%s: got client %v, want %v", addr, r.Client, want)
				}
			})
		}
	}
}

// Of several clients the first counts, and none that is named after an attempt.
func TestOnlyFirstNamedClientCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		send func(*peer)
		want string
		ForwardedCounts
	}{
		"two": {func(client *peer) {
			client.nameClient(imapListener, namedClient)
			client.nameClient(imapListener, "198.51.100.10")
		}, namedClient, ForwardedCounts{Taken: 1, Ignored: 1}},
		"the same twice": {func(client *peer) {
			client.nameClient(imapListener, namedClient)
			client.nameClient(imapListener, namedClient)
		}, namedClient, ForwardedCounts{Taken: 1, Ignored: 1}},
		"two in one": {func(client *peer) {
			client.send(`i ID ("x-originating-ip" "198.51.100.9" "x-originating-ip" "198.51.100.10")`)
			client.expect("* ID NIL", "i OK …")
		}, "10.1.0.2", ForwardedCounts{Invalid: 1}},
		"after an ID without": {func(client *peer) {
			client.send(`i ID ("name" "webmail")`)
			client.expect("* ID NIL", "i OK …")
			client.nameClient(imapListener, namedClient)
		}, "10.1.0.2", ForwardedCounts{Ignored: 1}},
		"after an attempt": {func(client *peer) {
			client.tryLogin(imapListener, "wrong")
			client.nameClient(imapListener, namedClient)
		}, "10.1.0.2", ForwardedCounts{Ignored: 1}},
		"a malformed ID": {func(client *peer) {
			client.send(`i ID ("x-originating-ip" "198.51.100.9"`)
			client.expect("i BAD …")
		}, "10.1.0.2", ForwardedCounts{}},
		"NIL": {func(client *peer) {
			client.send(`i ID ("x-originating-ip" NIL)`)
			client.expect("* ID NIL", "i OK …")
		}, "10.1.0.2", ForwardedCounts{Invalid: 1}},
		"a session without a client": {func(client *peer) {
			client.send(`i ID ("x-session-id" "s")`)
			client.expect("* ID NIL", "i OK …")
		}, "10.1.0.2", ForwardedCounts{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindWebmail(t, dialogue.IMAP{}, limiter.Policy{})
				client := proxy.connectAndExpect(proxy.listen(imapListener), webmailAddr, "* OK …")
				tt.send(client)
				if r := proxy.finalRecord(); r.Client.Addr().String() != tt.want || r.Forwarded != tt.ForwardedCounts {
					t.Errorf("got client %v, %+v, want %v, %+v", r.Client, r.Forwarded, tt.want, tt.ForwardedCounts)
				}
			})
		})
	}
}
