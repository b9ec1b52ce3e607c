package proxy

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// panickingProtocol is a protocol that panics in one of its methods.
type panickingProtocol struct {
	dialogue.Protocol
	method string
}

func (f panickingProtocol) panicIn(method string) {
	if f.method == method {
		panic("fault in " + method)
	}
}

func (f panickingProtocol) Greet(c *dialogue.Conn, o dialogue.Offer) error {
	f.panicIn("Greet")
	return f.Protocol.Greet(c, o)
}

func (f panickingProtocol) ReadRequest(c *dialogue.Conn, o dialogue.Offer) (dialogue.Request, error) {
	f.panicIn("ReadRequest")
	return f.Protocol.ReadRequest(c, o)
}

func (f panickingProtocol) Answer(c *dialogue.Conn, r dialogue.Request, a dialogue.Answer) error {
	f.panicIn("Answer")
	return f.Protocol.Answer(c, r, a)
}

func (f panickingProtocol) ReadGreeting(up *dialogue.Conn, upgrade func() error) error {
	f.panicIn("ReadGreeting")
	return f.Protocol.ReadGreeting(up, upgrade)
}

func (f panickingProtocol) Login(up, c *dialogue.Conn, r dialogue.Request) (dialogue.Reply, error) {
	f.panicIn("Login")
	return f.Protocol.Login(up, c, r)
}

// A panic ends one connection, at both ends, and no other. Nothing that the connection
// held is left.
func TestPanicEndsOneConnection(t *testing.T) {
	for method, step := range map[string]Step{
		"Greet": StepDialogue, "ReadRequest": StepDialogue, "Answer": StepVerdict, "ReadGreeting": StepDial, "Login": StepReplay,
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			t.Run(method+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, panickingProtocol{dialogue.IMAP{}, method}, func(b *peer) {
						b.readHeader()
						b.timeout = time.Minute // far longer than the proxy needs
						b.send(imapHello)
						b.expectClosed()
					})
					proxy.setPolicy(sourceRule())
					l.Protocol = proxy.backends.protocol
					ln := proxy.listen(l)
					client := proxy.connect(clientAddr, ln)
					if l.TLS == Implicit {
						client.startTLS(nil)
					}
					if method != "Greet" {
						client.expect("* OK …")
						client.send(map[bool]string{true: "a1 LOGIN {2+}\r\n\x00\x00 u", false: "a1 LOGIN u right"}[method == "Answer"])
					}
					for err := error(nil); err == nil; {
						_, err = client.readLine()
					}
					synctest.Wait()
					if n := proxy.charged(clientIP); n != map[string]int{"Answer": 1}[method] { // as a denial
						t.Errorf("got %d tokens spent or held, want %d", n, map[string]int{"Answer": 1}[method])
					}
					for _, s := range proxy.backends.Stats() {
						if s.Logins != 0 || s.Sessions != 0 {
							t.Errorf("got backend %+v, want Logins %v, Sessions %v", s, 0, 0)
						}
					}
					if s := proxy.Stats(); s.Open != 0 {
						t.Errorf("got stats %+v, want Open %v", s, 0)
					}
					r := proxy.finalRecord()
					if r.End != EndPanic || r.Step != step || !strings.Contains(r.Err.Error(), "fault in "+method) || !strings.Contains(r.Err.Error(), "panic_test.go") {
						t.Errorf("got end %v in step %v (%.100v), want %v in %v", r.End, r.Step, r.Err, EndPanic, step)
					}
				})
			})
		}
	}
}

// A panic in a handshake gives the handshake slot back.
func TestPanicInHandshakeGivesSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		l := imapsListener
		l.Config = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName == "fault.example.org" {
				panic("fault in the picking of a certificate")
			}
			return &imapsListener.Config.Certificates[0], nil
		}}
		ln := proxy.listen(l)
		for range 20 {
			client := proxy.connect(clientAddr, ln)
			client.timeout = time.Minute
			if _, err := client.tryTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "fault.example.org"}); err == nil {
				t.Error("the handshake succeeded")
			}
		}
		synctest.Wait()
		if n := proxy.handshakes.inUse(); n != 0 {
			t.Fatalf("got %d slots in use, want none", n)
		}
		proxy.awaitGreeting(proxy.connect(clientAddr, ln), l)
	})
}
