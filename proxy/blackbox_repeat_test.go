//go:build linux

package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/mailtest"
)

// leaveActions are what a client may do right after its guess.
var leaveActions = []struct {
	name  string
	leave func(client *peer, tcp *net.TCPConn, protocol string)
}{
	{"closes", func(client *peer, _ *net.TCPConn, _ string) { client.Close() }},
	{"resets", func(_ *peer, tcp *net.TCPConn, _ string) { tcp.SetLinger(0); tcp.Close() }},
	{"half-closes", func(client *peer, _ *net.TCPConn, _ string) { client.closeWrite() }},
	{"half-closes below", func(_ *peer, tcp *net.TCPConn, _ string) { tcp.CloseWrite() }},
	{"logs out", func(client *peer, _ *net.TCPConn, protocol string) {
		client.send(map[string]string{"imap": "b LOGOUT", "pop3": "QUIT"}[protocol])
	}},
}

// A wrong password is sent twice, in every spelling and after every way to leave.
// Dovecot is asked once.
func TestBlackboxRepeat(t *testing.T) {
	t.Parallel()
	p := limiter.Policy{
		Source: limiter.Rate{Tokens: 10, Per: time.Hour}, Pair: limiter.Rate{Tokens: 5, Per: time.Hour},
		RepeatTTL: time.Minute, KnownTTL: time.Hour,
	}
	b := newBlackboxProxy(t, p, "disable_plaintext_auth = no\n")
	var all sync.WaitGroup
	n := 0
	next := func() netip.Addr { n++; return netip.AddrFrom4([4]byte{127, 21, 0, byte(n)}) }
	for _, s := range loginSpellings {
		from := next()
		all.Go(func() {
			b.testRepeatOnConnection(t, s.listener, s.name, fmt.Sprintf(s.lines, s.spell("user"), s.spell("wrong"), 4, 5, plain("user", "wrong")), from)
		})
	}
	for _, l := range leaveActions {
		for _, listener := range []mailtest.Listener{{Protocol: "imap", Cleartext: true}, {Protocol: "imap", TLS: true}, {Protocol: "pop3", Cleartext: true}, {Protocol: "pop3", TLS: true}} {
			from := next()
			all.Go(func() { b.testRepeatAfterLeaving(t, listener, l.name, l.leave, from) })
		}
	}
	all.Wait()
}

// testRepeatOnConnection plays a login that is denied twice on one connection.
func (b *blackboxTarget) testRepeatOnConnection(t *testing.T, listener, name, login string, from netip.Addr) {
	login = strings.NewReplacer("S: a OK {any}", "S: a NO [AUTHENTICATIONFAILED] {any}", "S: +OK {any}", "S: -ERR [AUTH] {any}").Replace(login)
	scripts, err := mailtest.ParseScripts("repeat", []byte("listener "+listener+" tls\nS: {any}\n"+login+login))
	if err != nil {
		t.Error(err)
		return
	}
	scripts[0].Play(t, mailtest.Endpoints{Client: b.dial(t, scripts[0].Listener, from), Timeout: realTimeout})
	b.expectOneDovecotAttempt(t, name, from)
}

// testRepeatAfterLeaving makes a guess and leaves, and makes the same guess on another
// connection.
func (b *blackboxTarget) testRepeatAfterLeaving(t *testing.T, listener mailtest.Listener, name string, leave func(*peer, *net.TCPConn, string), from netip.Addr) {
	for i := range 2 {
		conn := b.dial(t, listener, from)
		client := newClient(t, conn)
		client.fail, client.timeout = t.Errorf, realTimeout
		if listener.TLS {
			client.startTLS(nil)
		}
		client.readLine()
		if listener.Protocol == "imap" {
			client.send("a1 LOGIN user wrong")
		} else {
			client.send("USER user", "PASS wrong")
			client.expect("+OK…")
		}
		if i == 1 {
			client.expect(denials[listener.Protocol])
			continue
		}
		leave(client, conn.(*net.TCPConn), listener.Protocol)
		if !b.awaitAttempt(from) {
			t.Errorf("%+v, %s: got no attempt, want one", listener, name)
		}
	}
	b.expectOneDovecotAttempt(t, fmt.Sprintf("%+v, %s", listener, name), from)
}

// awaitAttempt waits until an attempt of a client is settled, and reports whether one was.
func (b *blackboxTarget) awaitAttempt(from netip.Addr) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(realTimeout)
	for {
		if slices.ContainsFunc(b.settledAttempts(), func(a Attempt) bool { return a.Client.Addr() == from }) {
			return true
		}
		select {
		case <-tick.C:
		case <-timeout:
			return false
		}
	}
}

// expectOneDovecotAttempt checks that Dovecot has denied the client once, and that the
// proxy alone has denied the second attempt.
func (b *blackboxTarget) expectOneDovecotAttempt(t *testing.T, name string, from netip.Addr) {
	var got []string
	for _, a := range b.settledAttempts() {
		if a.Client.Addr() == from {
			got = append(got, fmt.Sprintf("%v %v %t", a.Outcome, a.Verdict.Action == limiter.Repeat, a.Backend != ""))
		}
	}
	if len(got) != 2 || got[0] != "denied false true" || got[1] != "denied true false" {
		t.Errorf("%s: got attempts %q, want one denied by Dovecot and one repeat", name, got)
	}
	failed := 0
	for line := range strings.Lines(b.dovecot.Logs()) {
		if strings.Contains(line, "(user,"+from.String()+",") && strings.Contains(line, "Password mismatch") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%s: got %d denials in Dovecot's log, want 1", name, failed)
	}
}
