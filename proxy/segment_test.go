package proxy

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"postern/proxy/dialogue"
)

// prefixed sends something in one segment with what is written first.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	_, err := p.Conn.Write(append(p.prefix, b...))
	p.prefix = nil
	return len(b), err
}

func TestHeaderAndHelloInOneSegment(t *testing.T) {
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\r\n", "v2": v2("203.0.113.9:4711", "192.0.2.1:143"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := behindBalancer(t, dialogue.POP3{})
				p := g.from(balancer, g.open(pop3sDoor))
				p.Conn = &prefixed{p.Conn, []byte(header)}
				g.greeted(p, pop3sDoor)
				p.say("AUTH PLAIN " + plain("u", "right"))
				p.hear("+OK Logged in.")
				p.say(strings.Repeat("x", 5000))
				p.hear("echo " + strings.Repeat("x", 5000))
				p.Close()
				if r := g.record(); r.Client.String() != "203.0.113.9:4711" || r.Handshake != HandshakeDone || r.TLS != "TLS 1.3" {
					t.Errorf("client %v, handshake %v, %q", r.Client, r.Handshake, r.TLS)
				}
			})
		})
	}
}

func TestStartTLSBehindHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		p := g.from(balancer, g.open(imapDoor))
		p.say(v2("203.0.113.9:4711", "192.0.2.1:143") + "a1 STARTTLS")
		p.hear("* OK …", "a1 OK …")
		p.startTLS(nil)
		p.say("a2 LOGIN u right")
		p.hear("a2 OK …")
	})
}

// Clear text behind STARTTLS ends the connection even where it has been read
// together with a header.
func TestClearTextBehindStartTLSBehindHeader(t *testing.T) {
	header := v2("203.0.113.9:4711", "192.0.2.1:143")
	for _, fill := range []int{1, 500, headerBuffer, 3000, 5000, 7000} {
		synctest.Test(t, func(t *testing.T) {
			g := behindBalancer(t, dialogue.IMAP{})
			p := g.from(balancer, g.open(imapDoor))
			noop := "a0 NOOP " + string(bytes.Repeat([]byte{'x'}, fill)) + "\r\n"
			p.say(header + noop + "a1 STARTTLS\r\na2 LOGIN u right")
			p.hear("* OK …", "a0 BAD …")
			for err := error(nil); err == nil; {
				var line string
				if line, err = p.line(); strings.HasPrefix(line, "a2") {
					t.Errorf("with %d octets before, the client heard %q", fill, line)
				}
			}
			if g.dialled(backendAddr) != 0 {
				t.Error("the backend was dialled")
			}
		})
	}
}

// lingering is a protocol that answers STARTTLS only when the client has said
// more.
type lingering struct{ dialogue.Protocol }

func (l lingering) Answer(c *dialogue.Conn, r dialogue.Request, a dialogue.Answer) error {
	if a == dialogue.AnswerTLS {
		_ = c.Fill()
	}
	return l.Protocol.Answer(c, r, a)
}

// Clear text that comes while STARTTLS is being answered is as bad as what came
// with it.
func TestClearTextBesideStartTLS(t *testing.T) {
	for _, d := range []Listener{imapDoor, pop3Door} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, lingering{d.Protocol}, nil)
				d.Protocol = g.backends.protocol
				c := g.enter(d)
				c.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Name])
				synctest.Wait()
				c.say(map[string]string{"imap": "a2 NOOP", "pop3": "CAPA"}[d.Name])
				c.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Name])
				c.seeEnd()
				if r := g.record(); r.End != EndProtocol || r.Handshake != HandshakeNone {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}
