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

// blackboxOtherClient is the number of a client that plays no script; the next number
// is its address in TLS.
const blackboxOtherClient = 10_000

// connectGreeted returns a client that has been greeted, and the greeting.
func (b *blackboxTarget) connectGreeted(t *testing.T, listener mailtest.Listener) (client *peer, greeting string) {
	t.Helper()
	number := blackboxOtherClient
	if listener.TLS {
		number++
	}
	client = newClient(t, b.dial(t, listener, clientAddrOf(number)))
	client.timeout = realTimeout
	if listener.TLS {
		client.startTLS(nil)
	}
	greeting, err := client.readLine()
	if err != nil {
		t.Fatal(err)
	}
	return client, greeting
}

// nonTLSInputs are sent to a listener for TLS.
var nonTLSInputs = []struct {
	name, data string
	fin        bool // the client sends no more
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

// A listener for TLS answers a client that does not speak TLS by an alert at most.
func (b *blackboxTarget) testNonTLSInput(t *testing.T) {
	for _, listener := range []mailtest.Listener{{Protocol: "imap", TLS: true}, {Protocol: "pop3", TLS: true}} {
		for _, input := range nonTLSInputs {
			t.Run(listener.Protocol+"/"+input.name, func(t *testing.T) {
				conn := b.dial(t, listener, clientAddrOf(blackboxOtherClient))
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(realTimeout))
				_, err := io.WriteString(conn, input.data)
				if input.fin {
					err = errors.Join(err, conn.(*net.TCPConn).CloseWrite())
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if err != nil && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %v, want the end or a reset", err)
				}
				if len(got) > 0 && !bytes.HasPrefix(got, []byte{0x15, 0x03}) {
					t.Errorf("got %q, want an alert or nothing", got)
				}
			})
		}
	}
}

// The proxy has the capabilities of the Dovecot behind it, in clear text and in TLS,
// but for those that a proxy cannot provide.
func TestBlackboxCapabilities(t *testing.T) {
	t.Parallel()
	proxy := newBlackboxProxy(t, limiter.Policy{KnownTTL: time.Hour}, "")
	direct := withoutProxy(proxy.dovecot)
	for _, inTLS := range []bool{false, true} {
		listener := mailtest.Listener{Protocol: "imap", TLS: inTLS}
		want := capabilities(t, direct, listener)
		want = slices.DeleteFunc(want, func(capability string) bool { return capability == "LOGIN-REFERRALS" })
		if got := capabilities(t, proxy, listener); !slices.Equal(got, want) {
			t.Errorf("%+v:\ngot  %q\nwant %q", listener, got, want)
		}
		listener.Protocol = "pop3"
		want = capabilities(t, direct, listener)
		want = slices.DeleteFunc(want, func(capability string) bool { return capability == "SASL PLAIN" || capability == "SASL LOGIN" })
		if got := capabilities(t, proxy, listener); !slices.Equal(got, want) {
			t.Errorf("%+v:\ngot  %q\nwant %q", listener, got, want)
		}
	}
}

// capabilities asks for the capabilities and returns them sorted. Each mechanism in a
// POP3 list becomes a capability of its own.
func capabilities(t *testing.T, b *blackboxTarget, listener mailtest.Listener) (all []string) {
	t.Helper()
	client, greeting := b.connectGreeted(t, listener)
	if listener.Protocol == "imap" {
		client.send("a CAPABILITY")
		list, _ := client.readLine()
		client.expect("a OK…")
		list = strings.TrimPrefix(list, "* CAPABILITY ")
		if !strings.HasPrefix(greeting, "* OK [CAPABILITY "+list+"]") {
			t.Errorf("%+v: got greeting %q and answer to CAPABILITY %q, want the same list", listener, greeting, list)
		}
		all = strings.Fields(list)
		slices.Sort(all)
		return all
	}
	client.send("CAPA")
	client.expect("+OK…")
	for {
		line, err := client.readLine()
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
