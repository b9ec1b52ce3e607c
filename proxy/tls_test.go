package proxy

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

func TestHandshakeTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		listener Listener
		sends    string
		login    time.Duration
		want     time.Duration
	}{
		"sends nothing":          {imapsListener, "", time.Minute, 10 * time.Second},
		"half a hello":           {pop3sListener, "\x16\x03\x01\x02\x00\x01", time.Minute, 10 * time.Second},
		"less time before login": {imapsListener, "", 4 * time.Second, 4 * time.Second},
		"after STARTTLS":         {imapListener, "a1 STARTTLS\r\n", time.Minute, 10 * time.Second},
		"after STLS":             {pop3Listener, "STLS\r\n", time.Minute, 10 * time.Second},
		"STARTTLS late":          {imapListener, "a1 STARTTLS\r\n", 5 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, c.listener.Protocol, nil)
				proxy.Timeouts.Login = c.login
				start := time.Now()
				client := proxy.connect(clientAddr, proxy.listen(c.listener))
				client.Write([]byte(c.sends))
				for err := error(nil); err == nil; {
					_, err = client.readLine()
				}
				if took := time.Since(start); took != c.want {
					t.Errorf("took %v, want %v", took, c.want)
				}
				r := proxy.finalRecord()
				if r.End != EndTLS || r.Step != StepTLS || r.Handshake != HandshakeFailed || r.TLS != "" || r.Err == nil {
					t.Errorf("got record %+v, want End %v, Step %v, Handshake %v", r, EndTLS, StepTLS, HandshakeFailed)
				}
			})
		})
	}
}

// Handshakes that succeed and fail are recorded as such.
func TestHandshakeIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapsListener)
		client := proxy.connect(clientAddr, ln)
		client.send("a1 NOOP") // in clear text
		if _, err := client.readLine(); err == nil {
			t.Error("got an answer to clear text")
		}
		proxy.awaitGreeting(proxy.connect(clientAddr, ln), imapsListener)
		all := proxy.finalRecords()
		if all[0].Handshake != HandshakeFailed || all[0].End != EndTLS || all[0].Greeting != 0 {
			t.Errorf("got record %+v, want Handshake %v, End %v", all[0], HandshakeFailed, EndTLS)
		}
		if all[1].Handshake != HandshakeDone || all[1].TLS == "" || all[1].Cipher == "" {
			t.Errorf("got record %+v, want Handshake %v", all[1], HandshakeDone)
		}
	})
}

// After STARTTLS the dialogue begins anew, and the client's time does not.
func TestStartTLS(t *testing.T) {
	for _, l := range []Listener{imapListener, pop3Listener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Name))
				proxy.CleartextLogin = false
				start := time.Now()
				client := proxy.connectGreeted(l)
				<-time.After(20 * time.Second)
				upgradeTLS(client, l)
				client.expectNothing(proxy.Timeouts.Login - 21*time.Second)
				sendLogin(client, l, "wrong")
				client.expect(map[string]string{"imap": "a1 NO …", "pop3": "-ERR [AUTH] …"}[l.Name])
				client.expect(map[string]string{"imap": "* BYE …", "pop3": "-ERR Disconnected …"}[l.Name])
				client.expectEOF()
				if took := time.Since(start); took != proxy.Timeouts.Login {
					t.Errorf("took %v, want %v", took, proxy.Timeouts.Login)
				}
				r := proxy.finalRecord()
				if r.End != EndTimeout || r.Handshake != HandshakeDone || r.TLS != "TLS 1.3" || r.Greeting != 0 || r.Attempts != 1 {
					t.Errorf("got record %+v, want End %v, Handshake %v, Attempts %v", r, EndTimeout, HandshakeDone, 1)
				}
			})
		})
	}
}

// A listener without a certificate offers no TLS.
func TestNoStartTLS(t *testing.T) {
	for _, l := range []Listener{{Name: "imap", Protocol: dialogue.IMAP{}}, {Name: "pop3", Protocol: dialogue.POP3{}}} {
		synctest.Test(t, func(t *testing.T) {
			proxy := newTestProxy(t, l.Protocol, nil)
			client := proxy.connectGreeted(l)
			client.send(map[string]string{"imap": "a0 STARTTLS", "pop3": "STLS"}[l.Name])
			client.expect(map[string]string{"imap": "a0 BAD …", "pop3": "-ERR …"}[l.Name])
		})
	}
}

// A client that closes instead of making the handshake is recorded as closed, or as a
// failed handshake if the proxy had begun it.
func TestClosingBeforeHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		client := proxy.connectGreeted(imapListener)
		client.send("a1 STARTTLS")
		client.Conn.(*memConn).reset()
		r := proxy.finalRecord()
		left := r.End == EndClient && r.Handshake == HandshakeNone
		failed := r.End == EndTLS && r.Handshake == HandshakeFailed
		if !left && !failed {
			t.Errorf("got record %+v", r)
		}
	})
}

// A client may resume its TLS session.
func TestTLSResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		l := imapsListener
		l.Config = newCertificate(t, "mail.example.org").Server() // tickets depend on the time
		ln := proxy.listen(l)
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for range 2 {
			client := proxy.connect(clientAddr, ln)
			client.startTLS(config)
			client.expect("* OK …")
			client.Close()
			synctest.Wait()
		}
		if all := proxy.finalRecords(); all[0].Resumed || !all[1].Resumed {
			t.Errorf("resumed: got %t, %t, want false, true", all[0].Resumed, all[1].Resumed)
		}
	})
}

// slowAnswerProtocol answers STARTTLS when the client has sent more.
type slowAnswerProtocol struct{ dialogue.Protocol }

func (l slowAnswerProtocol) Answer(c *dialogue.Conn, r dialogue.Request, a dialogue.Answer) error {
	if a == dialogue.AnswerTLS {
		_ = c.Fill()
	}
	return l.Protocol.Answer(c, r, a)
}

// Clear text that arrives while STARTTLS is answered ends the connection too.
func TestClearTextDuringStartTLS(t *testing.T) {
	for _, l := range []Listener{imapListener, pop3Listener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, slowAnswerProtocol{l.Protocol}, nil)
				l.Protocol = proxy.backends.protocol
				client := proxy.connectGreeted(l)
				client.send(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[l.Name])
				synctest.Wait()
				client.send(map[string]string{"imap": "a2 NOOP", "pop3": "CAPA"}[l.Name])
				client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Name])
				client.expectEOF()
				if r := proxy.finalRecord(); r.End != EndProtocol || r.Handshake != HandshakeNone {
					t.Errorf("got record %+v, want End %v, Handshake %v", r, EndProtocol, HandshakeNone)
				}
			})
		})
	}
}
