//go:build linux

package proxy

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/limiter"
	"postern/proxy/mailtest"
)

// dovecotLoginLine is what Dovecot logs of a login.
var dovecotLoginLine = regexp.MustCompile(`(imap|pop3)-login: Info: Login: user=<(.*?)>, method=\S+, rip=(\S+), lip=127\.0\.0\.1, mpid=\d+,(.*) session=`)

// dovecotLogin is one login.
type dovecotLogin struct {
	protocol, account string
	client            netip.Addr
}

// scriptsByClient returns the scripts by the address of their client.
func scriptsByClient(cases []mailtest.Script) map[netip.Addr]mailtest.Script {
	all := map[netip.Addr]mailtest.Script{}
	for i, s := range cases {
		all[clientAddrOf(i)] = s
	}
	return all
}

// settledAttempts are the attempts that the proxy has settled so far.
func (b *blackboxTarget) settledAttempts() []Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.attempts)
}

// logFailures logs, once the test has failed, what a client cannot see.
func (b *blackboxTarget) logFailures(t *testing.T) {
	if !t.Failed() {
		return
	}
	for line := range strings.Lines(b.dovecot.Logs()) {
		if strings.Contains(line, ": Error: ") || strings.Contains(line, ": Warning: ") || strings.Contains(line, ": Fatal: ") {
			t.Log(line)
		}
	}
	for _, a := range b.settledAttempts() {
		if a.Err != nil {
			t.Logf("%v, %s as %q: %v", a.Client, a.Method, a.Account, a.Err)
		}
	}
}

// expectedOutcomes are the outcomes of attempts that are not accepted, by a part of the
// script's name. A guess must be charged if the client breaks off after it, and a
// challenge that was only asked for must not.
var expectedOutcomes = []struct {
	part string
	want limiter.Outcome
}{
	{"-unfit", limiter.Denied},
	{"error round", limiter.Denied},
	{"token of another account", limiter.Denied},
	{"a wrong digest", limiter.Denied},
	{"a wrong proof", limiter.Denied},
	{"CRAM-MD5 cancelled", limiter.Void},
	{"cancelled at the second step", limiter.Void},
	{"in the middle of a relayed exchange", limiter.Void},
}

// checkAttempts checks the outcomes of the attempts, and that no name or password that
// Dovecot could misread was sent to it.
func (b *blackboxTarget) checkAttempts(t *testing.T, cases []mailtest.Script) {
	clients := scriptsByClient(cases)
	attempts := b.settledAttempts()
	for _, o := range expectedOutcomes {
		seen := 0
		for _, a := range attempts {
			name := clients[a.Client.Addr()].Name
			if !strings.Contains(name, o.part) || a.Outcome == limiter.Accepted {
				continue
			}
			seen++
			if a.Outcome != o.want {
				t.Errorf("%s: account %q: got outcome %v, want %v", name, a.Account, a.Outcome, o.want)
			}
			// With CRAM-MD5 the name comes after Dovecot was asked for a challenge.
			if strings.Contains(name, "-unfit") && a.Backend != "" && a.Method != "CRAM-MD5" {
				t.Errorf("%s: account %q: got backend %s, want none", name, a.Account, a.Backend)
			}
		}
		if seen == 0 {
			t.Errorf("got no attempt in a script with %q in its name", o.part)
		}
	}
}

// checkDovecotLog compares what Dovecot has logged with the attempts that were
// accepted. Accounts and client addresses are the same. All logins are logged as
// secured but those by CRAM-MD5 or SCRAM in clear text. The account whose login is
// smuggled is not logged in.
func (b *blackboxTarget) checkDovecotLog(t *testing.T, cases []mailtest.Script) {
	logged := b.dovecotLogins(t)
	accepted := map[dovecotLogin]bool{}
	for _, a := range b.settledAttempts() {
		if a.Outcome == limiter.Accepted {
			accepted[dovecotLogin{a.Protocol, strings.ToLower(a.Account), a.Client.Addr()}] = true
		}
	}
	if len(accepted) == 0 {
		t.Error("got no accepted attempt")
	}
	for e := range accepted {
		if _, ok := logged[e]; !ok {
			b.dovecot.WaitLog(t, e.protocol+"-login: ", "Login: user=<"+e.account+">", "rip="+e.client.String()+",")
		}
	}
	clients := scriptsByClient(cases)
	for e, secured := range logged {
		name := clients[e.client].Name
		if !accepted[e] {
			t.Errorf("%q: Dovecot logged %+v, which the proxy has not accepted", name, e)
		}
		if e.account == blackboxVictim && !strings.HasSuffix(name, "the victim itself") {
			t.Errorf("%q: got a login as %s", name, e.account)
		}
		if inClear := e.client == clientAddrOf(blackboxOtherClient); secured == inClear {
			t.Errorf("%q: %+v: got secured %v, want %v", name, e, secured, !inClear)
		}
	}
}

// dovecotLogins are the logins that Dovecot has logged, and whether as secured.
func (b *blackboxTarget) dovecotLogins(t *testing.T) map[dovecotLogin]bool {
	t.Helper()
	all := map[dovecotLogin]bool{}
	for line := range strings.Lines(b.dovecot.Logs()) {
		if !strings.Contains(line, "Login: ") {
			continue
		}
		m := dovecotLoginLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("Dovecot's log: got line %q, want a login", line)
			continue
		}
		client, err := netip.ParseAddr(m[3])
		if err != nil {
			t.Error(err)
		}
		all[dovecotLogin{m[1], m[2], client}] = strings.Contains(m[4], " secured,")
	}
	return all
}
