package dialogue

import (
	"net"
	"strings"
	"testing"
)

// replayConn is a connection whose input can be set again, and whose output is
// dropped.
type replayConn struct {
	net.Conn
	input strings.Reader
}

func (r *replayConn) Read(p []byte) (int, error)  { return r.input.Read(p) }
func (r *replayConn) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkReadRequest is one client from its greeting to the denial of its login.
func BenchmarkReadRequest(b *testing.B) {
	for _, bb := range []struct {
		name     string
		protocol Protocol
		client   string
	}{
		{"imap/LOGIN", IMAP{}, "a1 LOGIN alice@example.org \"correct horse\"\r\n"},
		{"imap/PLAIN", IMAP{}, "a1 AUTHENTICATE PLAIN " + b64("\x00alice@example.org\x00correct horse") + "\r\n"},
		{"imap/clear", IMAP{}, "a1 CAPABILITY\r\na2 STARTTLS\r\n"},
		{"pop3/USER", POP3{}, "CAPA\r\nUSER alice@example.org\r\nPASS correct horse\r\n"},
		{"pop3/PLAIN", POP3{}, "AUTH PLAIN " + b64("\x00alice@example.org\x00correct horse") + "\r\n"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			o := Offer{TLS: true, Backend: dovecot[bb.protocol.Name()]}
			if bb.name == "imap/clear" {
				o.TLS, o.StartTLS = false, true
			}
			var client replayConn
			b.ReportAllocs()
			for b.Loop() {
				client.input.Reset(bb.client)
				c := NewConn(&client)
				_ = bb.protocol.Greet(c, o)
				r, err := bb.protocol.ReadRequest(c, o)
				if err != nil {
					b.Fatal(err)
				}
				_ = bb.protocol.Answer(c, r, AnswerDenied)
				r.Response.Wipe()
				c.Release()
			}
		})
	}
}

// BenchmarkLogin is one login at a backend, from its greeting to its reply.
func BenchmarkLogin(b *testing.B) {
	for _, bb := range []struct {
		name, backend string
		protocol      Protocol
	}{
		{"imap/accepted", "* OK [CAPABILITY " + imapBefore + "] Dovecot ready.\r\n1 OK [CAPABILITY " + imapAfter + "] Logged in\r\n", IMAP{}},
		{"imap/denied", "* OK [CAPABILITY " + imapBefore + "] Dovecot ready.\r\n1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", IMAP{}},
		{"pop3/accepted", "+OK Dovecot ready.\r\n+OK Logged in.\r\n", POP3{}},
		{"pop3/denied", "+OK Dovecot ready.\r\n-ERR [AUTH] Authentication failed.\r\n", POP3{}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var backend replayConn
			c, r := NewConn(peerSends("")), loginRequest("PLAIN")
			b.ReportAllocs()
			for b.Loop() {
				backend.input.Reset(bb.backend)
				up := NewConn(&backend)
				if err := bb.protocol.ReadGreeting(up, nil); err != nil {
					b.Fatal(err)
				}
				if _, err := bb.protocol.Login(up, c, r); err != nil {
					b.Fatal(err)
				}
				up.Rest()
			}
		})
	}
}

// What Dovecot 2.3 offers before login and after.
const (
	imapBefore = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN AUTH=LOGIN"
	imapAfter  = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS " +
		"THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED " +
		"I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE " +
		"SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY"
)

var dovecot = map[string]Capabilities{
	"imap": strings.Fields(imapBefore),
	"pop3": {"CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "USER", "SASL PLAIN LOGIN"},
}
