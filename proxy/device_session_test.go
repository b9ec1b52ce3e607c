package proxy

import (
	"crypto/tls"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// only returns the one session that is open. It must be waiting.
func (proxy *testProxy) only() *session {
	proxy.t.Helper()
	synctest.Wait()
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.Server.mu.Lock()
	defer proxy.Server.mu.Unlock()
	for s := range proxy.sessions {
		if len(proxy.sessions) == 1 {
			return s
		}
	}
	proxy.t.Fatalf("got %d sessions, want 1", len(proxy.sessions))
	return nil
}

// The limiter gets the device of a client whose login was accepted when the client comes
// back from another address and resumes, at every kind of listener.
func TestAttemptsHaveDevice(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
		t.Run(l.Name, func(t *testing.T) {
			eachTLSVersion(t, func(t *testing.T, version uint16) {
				synctest.Test(t, func(t *testing.T) { testAttemptsHaveDevice(t, l, version) })
			})
		})
	}
}

func testAttemptsHaveDevice(t *testing.T, l Listener, version uint16) {
	proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
	l.Config = newCertificate(t, "mail.example.org").Server() // tickets depend on the time
	ln := proxy.listen(l)
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	var first limiter.Attempt
	for i, from := range []string{clientAddr, "192.0.2.99:1", "198.51.100.1:1"} {
		client := proxy.connect(from, ln)
		greeting := map[string]string{"imap": "* OK …", "pop3": "+OK …"}[l.Protocol.Name()]
		if l.TLS == Implicit {
			client.startTLS(config)
			client.expect(greeting)
		} else {
			client.expect(greeting)
			client.send(map[string]string{"imap": "a0 STARTTLS", "pop3": "STLS"}[l.Protocol.Name()])
			client.expect(map[string]string{"imap": "a0 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
			client.startTLS(config)
		}
		got := proxy.only().subjectNamed(dialogue.Request{}, "u")
		sendLogin(client, l, "right")
		client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
		want := limiter.Attempt{Addr: mustAddrPort(from).Addr(), Account: "u", Device: first.Device, Resumed: true}
		if want.JA4 = got.JA4; len(got.JA4) != len("t13d131000_f57a46bbacb6_ab7e3b40a677") {
			t.Errorf("connection %d: got JA4 %q", i, got.JA4)
		}
		if i == 0 {
			first, want.Device, want.Resumed = got, got.Device, false
		}
		if got != want || got.Device == 0 {
			t.Errorf("connection %d: got %+v, want %+v", i, got, want)
		}
		client.Close()
		synctest.Wait()
	}
	for i, r := range proxy.finalRecords() {
		if r.Resumed != (i > 0) {
			t.Errorf("connection %d: resumed %t", i, r.Resumed)
		}
	}
}

// A client in clear text has no device.
func TestClearTextHasNoDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		proxy.connectGreeted(imapListener)
		if got, want := proxy.only().subjectNamed(dialogue.Request{}, "u"), (limiter.Attempt{Addr: clientIP, Account: "u"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// The limiter learns which mechanisms use tokens. Package dialogue has their names in upper
// case.
func TestAttemptsSayWhetherTheSecretIsAToken(t *testing.T) {
	s := &session{record: Record{Client: mustAddrPort(clientAddr)}}
	for mechanism, want := range map[string]bool{"XOAUTH2": true, "OAUTHBEARER": true, "PLAIN": false, "CRAM-MD5": false, "": false} {
		if got := s.subjectNamed(dialogue.Request{Mechanism: mechanism}, "u"); got.Token != want {
			t.Errorf("%q: got %+v, want Token %t", mechanism, got, want)
		}
	}
}

// While strangers have closed an account, a client that resumes a session in which its login
// was accepted logs in from any address; one without that is refused.
func TestKnownDeviceLogsInToClosedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(limiter.Policy{
			Account: limiter.Rate{Tokens: 1, Per: time.Hour}, KnownTTL: time.Hour, WaitMax: time.Second,
			Global: limiter.Rate{Tokens: 100, Per: time.Second},
		})
		l := imapsListener
		l.Config = newCertificate(t, "mail.example.org").Server()
		ln := proxy.listen(l)
		login := func(config *tls.Config, addr, password, answer string) {
			t.Helper()
			client := proxy.connect(addr, ln)
			client.startTLS(config)
			client.expect("* OK …")
			sendLogin(client, l, password)
			client.expect(answer)
			client.Close()
			synctest.Wait()
		}
		config := func() *tls.Config {
			return &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		}
		owner, stranger := config(), config()
		login(owner, "192.0.2.1:1", "right", "a1 OK …")
		for i := range 20 { // all that strangers may try, denied or looked at
			login(config(), fmt.Sprintf("10.%d.0.1:1", i), fmt.Sprint("guess", i), "a1 NO …")
		}
		login(stranger, "198.51.100.1:1", "right", "a1 NO [UNAVAILABLE] …")
		login(owner, "198.51.100.2:1", "right", "a1 OK …")
		if r := proxy.lastRecord(); !r.Resumed || r.Verdict.Rule != limiter.RuleNone {
			t.Errorf("got record %+v, want a resumed session and no rule", r)
		}
	})
}
