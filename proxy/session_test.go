package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Each rule about connections but open_prelogin refuses one, on every listener.
func TestRefusedAtConnect(t *testing.T) {
	for rule, policy := range map[limiter.Rule]limiter.Policy{
		limiter.RuleConnect: {Connect: limiter.Rate{Tokens: 1, Per: time.Hour}},
		limiter.RuleOpen:    {Open: 1},
	} {
		for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
			t.Run(string(rule)+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, nil)
					proxy.setPolicy(policy)
					ln := proxy.listen(l)
					first := proxy.connect(clientAddr, ln)
					proxy.awaitGreeting(first, l)
					client := proxy.connect("203.0.113.7:40001", ln)
					switch l.Name {
					case "imap":
						client.expect("* BYE [UNAVAILABLE] " + busyText)
						client.expectEOF()
					case "pop3":
						client.expect(pop3Busy)
						client.expectEOF()
					default:
						client.expectAlert()
					}
					proxy.awaitGreeting(proxy.connect("203.0.113.8:40000", ln), l)

					synctest.Wait()
					proxy.mu.Lock()
					r := proxy.records[0]
					proxy.mu.Unlock()
					want := limiter.Verdict{Action: limiter.Refuse, Rule: rule}
					if r.End != EndRefused || r.Step != StepConnect || r.Verdict != want || r.Handshake != HandshakeNone || r.Greeting != 0 {
						t.Errorf("got record %+v, want End %v, Step %v, Verdict %v, Handshake %v", r, EndRefused, StepConnect, want, HandshakeNone)
					}
					if first.Close(); proxy.finalRecords()[1].Verdict.Rule != limiter.RuleNone {
						t.Error("the first connection: got a rule, want none")
					}
				})
			})
		}
	}
}

// A client that has logged in does not count as one before login, and one that has
// closed does not count at all.
func TestConnectionsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, imapListener.Protocol, (&fakeBackend{}).imap)
		proxy.setPolicy(limiter.Policy{OpenPrelogin: 1, Open: 2})
		ln := proxy.listen(imapListener)
		first := proxy.connect(clientAddr, ln)
		first.expect("* OK …")
		first.send("a1 LOGIN u right")
		first.expect("a1 OK …")
		synctest.Wait()
		second := proxy.connect(clientAddr, ln)
		second.expect("* OK …")
		proxy.connect(clientAddr, ln).expect("* BYE …")
		second.send("a1 LOGIN u right")
		second.expect("a1 OK …")
		synctest.Wait()
		proxy.connect(clientAddr, ln).expect("* BYE …")
		first.Close()
		synctest.Wait()
		third := proxy.connect(clientAddr, ln)
		third.expect("* OK …")
		third.Close()
		synctest.Wait()
		proxy.connect(clientAddr, ln).expect("* OK …")
	})
}

// A refused client that sends no hello is closed soon, and only so many are waited for
// at once.
func TestRefusedConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, imapsListener.Protocol, nil)
		proxy.setPolicy(limiter.Policy{Open: 1})
		ln := proxy.listen(imapsListener)
		proxy.awaitGreeting(proxy.connect(clientAddr, ln), imapsListener)
		for range maxRefused + 10 {
			proxy.connect(clientAddr, ln)
		}
		synctest.Wait()
		if n := proxy.Stats().Open; n != 1+maxRefused {
			t.Errorf("got %d connections open, want %d", n, 1+maxRefused)
		}
		<-time.After(helloTimeout)
		synctest.Wait()
		if n := proxy.Stats().Open; n != 1 {
			t.Errorf("got %d connections open, want 1", n)
		}
	})
}

// A client that does not log in in time gets an answer.
func TestLoginTimeout(t *testing.T) {
	bye := map[string]string{"imap": "* BYE Disconnected for inactivity.", "pop3": "-ERR Disconnected for inactivity."}
	for name, sends := range map[string][]string{
		"sends nothing":  nil,
		"within a line":  {"a1 "},
		"one by one":     {"a", "1", " ", "N", "O", "O", "P"},
		"busy":           {"a1 CAPABILITY\r\n", "a2 CAPABILITY\r\n", "a3 CAPABILITY\r\n"},
		"after a denial": {"a1 LOGIN u wrong\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			forEachListener(t, func(t *testing.T, l Listener) {
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
				start := time.Now()
				client := proxy.connectGreeted(l)
				for i, part := range sends {
					if l.Protocol.Name() == "pop3" {
						part = map[string]string{"a1 ": "US", "a1 LOGIN u wrong\r\n": "USER u\r\nPASS wrong\r\n"}[part]
					}
					wait(time.Duration(i) * time.Second)
					client.Write([]byte(part))
				}
				line := ""
				for line != bye[l.Protocol.Name()] {
					var err error
					if line, err = client.readLine(); err != nil {
						t.Fatalf("got %v, want an answer", err)
					}
				}
				client.expectEOF()
				if took := time.Since(start); took != proxy.Timeouts.Login {
					t.Errorf("took %v, want %v", took, proxy.Timeouts.Login)
				}
				if r := proxy.finalRecord(); r.End != EndTimeout || r.Step != StepDialogue {
					t.Errorf("got record %+v, want End %v, Step %v", r, EndTimeout, StepDialogue)
				}
			})
		})
	}
}

// A violation of the protocol is recorded, and a client that closes is not one.
func TestEndsBeforeLogin(t *testing.T) {
	for name, c := range map[string]struct {
		sends string
		end   End
	}{
		"closes":                           {"", EndClient},
		"within a line":                    {"a1 NO", EndClient},
		"logs out":                         {"a1 LOGOUT\r\n", EndClient},
		"sends HTTP":                       {"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", EndProtocol},
		"sends TLS":                        {"\x16\x03\x01\x02\x00\x01", EndProtocol},
		"sends nonsense":                   {"?\r\n?\r\n?\r\n", EndProtocol},
		"sends a long line":                {string(make([]byte, 9000)) + "\r\n", EndProtocol},
		"sends clear text behind STARTTLS": {"a1 STARTTLS\r\na2 LOGIN u right\r\n", EndProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) { b.fail("the backend was dialled") })
				client := proxy.connectGreeted(imapListener)
				client.Write([]byte(c.sends))
				synctest.Wait()
				client.Close()
				r := proxy.finalRecord()
				if r.End != c.end || r.Step != StepDialogue || r.Verdict.Action != limiter.Pass || r.Attempts != 0 || (r.Err != nil) != (c.end == EndProtocol || name == "within a line") {
					t.Errorf("got record %+v, want End %v, Step %v, Attempts %v", r, c.end, StepDialogue, 0)
				}
			})
		})
	}
}

// A password is not accepted before TLS, and is after STARTTLS.
func TestPasswordsNeedTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.CleartextLogin = false
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u right")
		client.expect("a1 NO [PRIVACYREQUIRED] …")
		upgradeTLS(client, imapListener)
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
		client.Close()
		if r := proxy.finalRecord(); r.Attempts != 1 || proxy.dialCount(backendAddr) != 1 {
			t.Errorf("got record %+v, want Attempts %v", r, 1)
		}
	})
}

// After a denial a client has as much time for its next try as before.
func TestTimeAfterDenial(t *testing.T) {
	for name, sends := range map[string][]string{
		"LOGIN": {"a1 LOGIN u wrong"}, "unfit": {"a1 LOGIN {2+}\r\n\x00\x00 u"},
		"CRAM-MD5": {"a1 AUTHENTICATE CRAM-MD5", b64("u wrong")},
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).imap)
					start := time.Now()
					client := proxy.connectGreeted(l)
					client.send(sends[0])
					if len(sends) > 1 {
						client.expect("+ …")
						client.send(sends[1])
					}
					client.expect("a1 NO …")
					<-time.After(roundTimeout + replayTimeout + time.Second)
					client.send("a2 NOOP")
					client.expect("a2 OK …", "* BYE …")
					client.expectEOF()
					if took := time.Since(start); took != proxy.Timeouts.Login {
						t.Errorf("took %v, want %v", took, proxy.Timeouts.Login)
					}
				})
			})
		}
	}
}
