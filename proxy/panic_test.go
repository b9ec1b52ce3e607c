package proxy

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// faulty is a protocol with a fault in one of its methods.
type faulty struct {
	dialogue.Protocol
	in string
}

func (f faulty) trip(method string) {
	if f.in == method {
		panic("fault in " + method)
	}
}

func (f faulty) Greet(c *dialogue.Conn, o dialogue.Offer) error {
	f.trip("Greet")
	return f.Protocol.Greet(c, o)
}

func (f faulty) ReadRequest(c *dialogue.Conn, o dialogue.Offer) (dialogue.Request, error) {
	f.trip("ReadRequest")
	return f.Protocol.ReadRequest(c, o)
}

func (f faulty) Answer(c *dialogue.Conn, r dialogue.Request, a dialogue.Answer) error {
	f.trip("Answer")
	return f.Protocol.Answer(c, r, a)
}

func (f faulty) ReadGreeting(up *dialogue.Conn, upgrade func() error) error {
	f.trip("ReadGreeting")
	return f.Protocol.ReadGreeting(up, upgrade)
}

func (f faulty) Login(up, c *dialogue.Conn, r dialogue.Request) (dialogue.Reply, error) {
	f.trip("Login")
	return f.Protocol.Login(up, c, r)
}

// TestPanic has a fault of the gate end one connection, with both its ends, and
// no other. Nothing is left that the connection held.
func TestPanic(t *testing.T) {
	for method, room := range map[string]Step{
		"Greet": StepDialogue, "ReadRequest": StepDialogue, "Answer": StepVerdict, "ReadGreeting": StepDial, "Login": StepReplay,
	} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(method+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, faulty{dialogue.IMAP{}, method}, func(b *peer) {
						b.readHeader()
						b.patience = time.Minute // of which the gate needs nothing
						b.say(imapHello)
						b.seeBreak()
					})
					g.limit(strict())
					d.Protocol = g.backends.protocol
					ln := g.open(d)
					p := g.from(clientAddr, ln)
					if d.TLS == Implicit {
						p.startTLS(nil)
					}
					if method != "Greet" {
						p.hear("* OK …")
						p.say(map[bool]string{true: "a1 LOGIN {2+}\r\n\x00\x00 u", false: "a1 LOGIN u right"}[method == "Answer"])
					}
					for err := error(nil); err == nil; {
						_, err = p.line()
					}
					synctest.Wait()
					if n := g.charged(clientIP); n != map[string]int{"Answer": 1}[method] { // to tell of a denial
						t.Errorf("%d tokens are spent or held", n)
					}
					for _, s := range g.backends.Stats() {
						if s.Logins != 0 || s.Sessions != 0 {
							t.Errorf("backend %+v", s)
						}
					}
					if s := g.Stats(); s.Open != 0 {
						t.Errorf("stats %+v", s)
					}
					r := g.record()
					if r.End != EndPanic || r.Step != room || !strings.Contains(r.Err.Error(), "fault in "+method) || !strings.Contains(r.Err.Error(), "panic_test.go") {
						t.Errorf("record %v in %v: %.100v", r.End, r.Step, r.Err)
					}
				})
			})
		}
	}
}

// A fault in the making of a handshake costs no slot: there are few of them.
func TestPanicInHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		d := imapsDoor
		d.Config = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName == "fault.example.org" {
				panic("fault in the picking of a certificate")
			}
			return &imapsDoor.Config.Certificates[0], nil
		}}
		ln := g.open(d)
		for range 20 {
			p := g.from(clientAddr, ln)
			p.patience = time.Minute
			if _, err := p.tryTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "fault.example.org"}); err == nil {
				t.Error("the handshake succeeded")
			}
		}
		synctest.Wait()
		if n := g.handshakes.inUse(); n != 0 {
			t.Fatalf("%d slots are taken", n)
		}
		g.greeted(g.from(clientAddr, ln), d)
	})
}
