//go:build linux

package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/mailtest"
)

// blackboxLeaves are what a client may do right after its guess.
var blackboxLeaves = []struct {
	name  string
	leave func(c *peer, tcp *net.TCPConn, protocol string)
}{
	{"hangs up", func(c *peer, _ *net.TCPConn, _ string) { c.Close() }},
	{"resets", func(_ *peer, tcp *net.TCPConn, _ string) { tcp.SetLinger(0); tcp.Close() }},
	{"half-closes", func(c *peer, _ *net.TCPConn, _ string) { c.halfClose() }},
	{"half-closes below", func(_ *peer, tcp *net.TCPConn, _ string) { tcp.CloseWrite() }},
	{"says goodbye", func(c *peer, _ *net.TCPConn, protocol string) {
		c.say(map[string]string{"imap": "b LOGOUT", "pop3": "QUIT"}[protocol])
	}},
}

// TestBlackboxRepeat makes the same wrong guess twice in every spelling, and once
// more after leaving right behind it: Dovecot is asked once.
func TestBlackboxRepeat(t *testing.T) {
	t.Parallel()
	p := limiter.Policy{
		Source: limiter.Rate{Tokens: 10, Per: time.Hour}, Pair: limiter.Rate{Tokens: 5, Per: time.Hour},
		RepeatTTL: time.Minute, KnownTTL: time.Hour,
	}
	b := blackboxGate(t, p, "disable_plaintext_auth = no\n")
	var all sync.WaitGroup
	n := 0
	next := func() netip.Addr { n++; return netip.AddrFrom4([4]byte{127, 21, 0, byte(n)}) }
	for _, s := range blackboxSpellings {
		from := next()
		all.Go(func() {
			b.twice(t, s.door, s.name, fmt.Sprintf(s.lines, s.spell("user"), s.spell("wrong"), 4, 5, plain("user", "wrong")), from)
		})
	}
	for _, l := range blackboxLeaves {
		for _, door := range []mailtest.Listener{{Protocol: "imap", Cleartext: true}, {Protocol: "imap", TLS: true}, {Protocol: "pop3", Cleartext: true}, {Protocol: "pop3", TLS: true}} {
			from := next()
			all.Go(func() { b.leaveAndRepeat(t, door, l.name, l.leave, from) })
		}
	}
	all.Wait()
}

// twice plays a login that is denied, and plays it again on the same connection.
func (b *blackbox) twice(t *testing.T, door, name, login string, from netip.Addr) {
	login = strings.NewReplacer("S: a OK {any}", "S: a NO [AUTHENTICATIONFAILED] {any}", "S: +OK {any}", "S: -ERR [AUTH] {any}").Replace(login)
	scripts, err := mailtest.ParseScripts("repeat", []byte("listener "+door+" tls\nS: {any}\n"+login+login))
	if err != nil {
		t.Error(err)
		return
	}
	scripts[0].Play(t, mailtest.Endpoints{Client: b.dial(t, scripts[0].Listener, from), Timeout: blackboxPatience})
	b.askedOnce(t, name, from)
}

// leaveAndRepeat makes a guess and leaves, and comes back with the same one.
func (b *blackbox) leaveAndRepeat(t *testing.T, door mailtest.Listener, name string, leave func(*peer, *net.TCPConn, string), from netip.Addr) {
	for i := range 2 {
		conn := b.dial(t, door, from)
		c := newClient(t, conn)
		c.fail, c.patience = t.Errorf, truePatience
		if door.TLS {
			c.startTLS(nil)
		}
		c.line()
		if door.Protocol == "imap" {
			c.say("a1 LOGIN user wrong")
		} else {
			c.say("USER user", "PASS wrong")
			c.hear("+OK…")
		}
		if i == 1 {
			c.hear(denials[door.Protocol])
			continue
		}
		leave(c, conn.(*net.TCPConn), door.Protocol)
		if !b.awaitAttempt(from) {
			t.Errorf("%+v, %s: no attempt was settled", door, name)
		}
	}
	b.askedOnce(t, fmt.Sprintf("%+v, %s", door, name), from)
}

// awaitAttempt waits until an attempt of a client is settled.
func (b *blackbox) awaitAttempt(from netip.Addr) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		for _, a := range b.settledAttempts() {
			if a.Client.Addr() == from {
				return true
			}
		}
		<-tick.C
	}
	return false
}

// askedOnce fails t unless Dovecot has denied the client once, and the gate again
// what Dovecot had denied.
func (b *blackbox) askedOnce(t *testing.T, name string, from netip.Addr) {
	var got []string
	for _, a := range b.settledAttempts() {
		if a.Client.Addr() == from {
			got = append(got, fmt.Sprintf("%v %v %t", a.Outcome, a.Verdict.Action == limiter.Repeat, a.Backend != ""))
		}
	}
	if len(got) != 2 || got[0] != "denied false true" || got[1] != "denied true false" {
		t.Errorf("%s: the attempts were %q", name, got)
	}
	failed := 0
	for line := range strings.Lines(b.dovecot.Logs()) {
		if strings.Contains(line, "(user,"+from.String()+",") && strings.Contains(line, "Password mismatch") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%s: Dovecot was asked %d times", name, failed)
	}
}
