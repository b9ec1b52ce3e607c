//go:build linux

package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/mailtest"
)

// blackboxStranger is the number of a client that plays no case; the next one
// comes in TLS.
const blackboxStranger = 10_000

// visit returns a client that has come to the door and heard the greeting.
func (b *blackbox) visit(t *testing.T, door mailtest.Listener) (c *peer, greeting string) {
	t.Helper()
	number := blackboxStranger
	if door.TLS {
		number++
	}
	c = newClient(t, b.dial(t, door, blackboxClient(number)))
	c.patience = truePatience
	if door.TLS {
		c.startTLS(nil)
	}
	greeting, err := c.line()
	if err != nil {
		t.Fatal(err)
	}
	return c, greeting
}

// blackboxHellos is what comes to a TLS port and is not TLS.
var blackboxHellos = []struct {
	name, octets string
	fin          bool // more could follow, but nothing does
}{
	{"IMAP", "a1 LOGIN victim victimpass\r\n", false},
	{"POP3", "USER victim\r\nPASS victimpass\r\n", false},
	{"HTTP", "GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n", false},
	{"PROXY header", "PROXY TCP4 192.0.2.99 192.0.2.1 40000 993\r\n", false},
	{"NULs", strings.Repeat("\x00", 64), false},
	{"record longer than any", "\x16\x03\x01\xff\xff" + strings.Repeat("\x01", 1024), false},
	{"SSL 2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x55", 37), false},
	{"half a record header", "\x16\x03", true},
	{"half a ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true},
	{"nothing", "", true},
}

// tlsOnly fails t if a TLS door tells anything to a client that does not speak
// TLS. An alert is all right.
func (b *blackbox) tlsOnly(t *testing.T) {
	for _, door := range []mailtest.Listener{{Protocol: "imap", TLS: true}, {Protocol: "pop3", TLS: true}} {
		for _, hello := range blackboxHellos {
			t.Run(door.Protocol+"/"+hello.name, func(t *testing.T) {
				conn := b.dial(t, door, blackboxClient(blackboxStranger))
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(truePatience))
				_, err := io.WriteString(conn, hello.octets)
				if hello.fin {
					err = errors.Join(err, conn.(*net.TCPConn).CloseWrite())
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if err != nil && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the door stays open: %v", err)
				}
				if len(got) > 0 && !bytes.HasPrefix(got, []byte{0x15, 0x03}) {
					t.Errorf("the door says %q", got)
				}
			})
		}
	}
}

// TestBlackboxCapabilities compares what the gate says it can do with what the
// Dovecot behind it says, in clear text and in TLS: clients are to see their
// real server, without what a front cannot keep.
func TestBlackboxCapabilities(t *testing.T) {
	t.Parallel()
	gate := blackboxGate(t, limiter.Policy{}, "")
	direct := blackboxBare(gate.dovecot)
	for _, inTLS := range []bool{false, true} {
		door := mailtest.Listener{Protocol: "imap", TLS: inTLS}
		want := blackboxOffer(t, direct, door)
		want = slices.DeleteFunc(want, func(word string) bool { return word == "LOGIN-REFERRALS" })
		if got := blackboxOffer(t, gate, door); !slices.Equal(got, want) {
			t.Errorf("%+v:\ngot  %q\nwant %q", door, got, want)
		}
		door.Protocol = "pop3"
		want = blackboxOffer(t, direct, door)
		want = slices.DeleteFunc(want, func(word string) bool { return word == "SASL PLAIN" || word == "SASL LOGIN" })
		if got := blackboxOffer(t, gate, door); !slices.Equal(got, want) {
			t.Errorf("%+v:\ngot  %q\nwant %q", door, got, want)
		}
	}
}

// blackboxOffer asks for the capabilities and returns them sorted. A list of
// mechanisms in POP3 becomes a capability each.
func blackboxOffer(t *testing.T, b *blackbox, door mailtest.Listener) (all []string) {
	t.Helper()
	c, greeting := b.visit(t, door)
	if door.Protocol == "imap" {
		c.say("a CAPABILITY")
		list, _ := c.line()
		c.hear("a OK…")
		list = strings.TrimPrefix(list, "* CAPABILITY ")
		if !strings.HasPrefix(greeting, "* OK [CAPABILITY "+list+"]") {
			t.Errorf("%+v: greeting %q, CAPABILITY says %q", door, greeting, list)
		}
		all = strings.Fields(list)
		slices.Sort(all)
		return all
	}
	c.say("CAPA")
	c.hear("+OK…")
	for {
		line, err := c.line()
		if err != nil {
			t.Fatal(err)
		}
		if line == "." {
			slices.Sort(all)
			return all
		}
		if mechanisms, ok := strings.CutPrefix(line, "SASL "); ok {
			for _, m := range strings.Fields(mechanisms) {
				all = append(all, "SASL "+m)
			}
			continue
		}
		all = append(all, line)
	}
}
