package proxy

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// startTLSAt takes a greeted client of a clear door into TLS.
func startTLSAt(c *peer, d Listener) {
	c.t.Helper()
	c.say(map[string]string{"imap": "a0 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
	c.hear(map[string]string{"imap": "a0 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
	c.startTLS(nil)
}

// After STARTTLS everything begins anew but for the time a client has.
func TestStartTLS(t *testing.T) {
	for _, d := range []Listener{imapDoor, pop3Door} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, (&judge{}).play(d.Name))
				g.CleartextLogin = false
				begun := time.Now()
				c := g.enter(d)
				<-time.After(20 * time.Second)
				startTLSAt(c, d)
				c.hearNothing(g.Timeouts.Login - 21*time.Second)
				tryLogin(c, d, "wrong")
				c.hear(map[string]string{"imap": "a1 NO …", "pop3": "-ERR [AUTH] …"}[d.Name])
				c.hear(map[string]string{"imap": "* BYE …", "pop3": "-ERR Disconnected …"}[d.Name])
				c.seeEnd()
				if took := time.Since(begun); took != g.Timeouts.Login {
					t.Errorf("it took %v", took)
				}
				r := g.record()
				if r.End != EndTimeout || r.Handshake != HandshakeDone || r.TLS != "TLS 1.3" || r.Greeting != 0 || r.Attempts != 1 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A door without a certificate offers no TLS.
func TestNoStartTLS(t *testing.T) {
	for _, d := range []Listener{{Name: "imap", Protocol: dialogue.IMAP{}}, {Name: "pop3", Protocol: dialogue.POP3{}}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(t, d.Protocol, nil)
			c := g.enter(d)
			c.say(map[string]string{"imap": "a0 STARTTLS", "pop3": "STLS"}[d.Name])
			c.hear(map[string]string{"imap": "a0 BAD …", "pop3": "-ERR …"}[d.Name])
		})
	}
}

// What must not travel in clear text is refused before TLS, and taken after.
func TestPasswordsNeedTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.CleartextLogin = false
		c := g.enter(imapDoor)
		c.say("a1 LOGIN u right")
		c.hear("a1 NO [PRIVACYREQUIRED] …")
		startTLSAt(c, imapDoor)
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
		c.Close()
		if r := g.record(); r.Attempts != 1 || g.dialled(backendAddr) != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

// A client that leaves instead of the handshake has left, or failed the
// handshake if the gate was faster.
func TestLeavingInsteadOfTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		c := g.enter(imapDoor)
		c.say("a1 STARTTLS")
		c.Conn.(*memConn).reset()
		r := g.record()
		left := r.End == EndClient && r.Handshake == HandshakeNone
		failed := r.End == EndTLS && r.Handshake == HandshakeFailed
		if !left && !failed {
			t.Errorf("record %+v", r)
		}
	})
}

// Who comes again may go on with the TLS session it had.
func TestResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		d := imapsDoor
		d.Config = newBubbleCertificate(t, "mail.example.org").Server() // tickets know the time
		ln := g.open(d)
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for range 2 {
			c := g.from(clientAddr, ln)
			c.startTLS(config)
			c.hear("* OK …")
			c.Close()
			synctest.Wait()
		}
		if all := g.allRecords(); all[0].Resumed || !all[1].Resumed {
			t.Errorf("resumed: %t, %t", all[0].Resumed, all[1].Resumed)
		}
	})
}
