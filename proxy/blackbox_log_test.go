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

// blackboxLogin is what Dovecot logs when it lets somebody in.
var blackboxLogin = regexp.MustCompile(`(imap|pop3)-login: Info: Login: user=<(.*?)>, method=\S+, rip=(\S+), lip=127\.0\.0\.1, mpid=\d+,(.*) session=`)

// blackboxEntry is one login.
type blackboxEntry struct {
	protocol, account string
	client            netip.Addr
}

// blackboxClients returns the scripts by the address of their client.
func blackboxClients(cases []mailtest.Script) map[netip.Addr]mailtest.Script {
	all := map[netip.Addr]mailtest.Script{}
	for i, s := range cases {
		all[blackboxClient(i)] = s
	}
	return all
}

// settledAttempts is what the gate has settled so far.
func (b *blackbox) settledAttempts() []Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.attempts)
}

// explain logs, once the test has failed, what went wrong out of a client's sight.
func (b *blackbox) explain(t *testing.T) {
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

// blackboxOutcomes are what attempts must come to that are not accepted, by a part
// of the case's name. A guess must not be free because it was broken off behind
// its answer, and a question must not be charged.
var blackboxOutcomes = []struct {
	part string
	want limiter.Outcome
}{
	{"-unfit", limiter.Denied},
	{"error round", limiter.Denied},
	{"token of somebody else", limiter.Denied},
	{"a wrong digest", limiter.Denied},
	{"a wrong proof", limiter.Denied},
	{"CRAM-MD5 cancelled", limiter.Void},
	{"cancelled at the second step", limiter.Void},
	{"in the middle of a relayed exchange", limiter.Void},
}

// checkAttempts fails t if the gate has settled an attempt otherwise than
// blackboxOutcomes says, or a name or password that no account has came to
// Dovecot.
func (b *blackbox) checkAttempts(t *testing.T, cases []mailtest.Script) {
	clients := blackboxClients(cases)
	attempts := b.settledAttempts()
	for _, o := range blackboxOutcomes {
		seen := 0
		for _, a := range attempts {
			name := clients[a.Client.Addr()].Name
			if !strings.Contains(name, o.part) || a.Outcome == limiter.Accepted {
				continue
			}
			seen++
			if a.Outcome != o.want {
				t.Errorf("%s: the attempt on %q ended %v, want %v", name, a.Account, a.Outcome, o.want)
			}
			// The name of CRAM-MD5 comes when Dovecot has been asked for a challenge.
			if strings.Contains(name, "-unfit") && a.Backend != "" && a.Method != "CRAM-MD5" {
				t.Errorf("%s: the attempt on %q came to backend %s", name, a.Account, a.Backend)
			}
		}
		if seen == 0 {
			t.Errorf("no attempt was made in a case of %q", o.part)
		}
	}
}

// checkLog compares what Dovecot has logged with what the gate says it has let
// in: the same accounts from the same addresses, the clients' own, all of them
// secured but the ones that came by CRAM-MD5 or SCRAM in clear text, and nobody
// as the account whose login was smuggled.
func (b *blackbox) checkLog(t *testing.T, cases []mailtest.Script) {
	logged := b.loggedEntries(t)
	accepted := map[blackboxEntry]bool{}
	for _, a := range b.settledAttempts() {
		if a.Outcome == limiter.Accepted {
			accepted[blackboxEntry{a.Protocol, strings.ToLower(a.Account), a.Client.Addr()}] = true
		}
	}
	if len(accepted) == 0 {
		t.Error("nobody was let in")
	}
	for e := range accepted {
		if _, ok := logged[e]; !ok {
			b.dovecot.WaitLog(t, e.protocol+"-login: ", "Login: user=<"+e.account+">", "rip="+e.client.String()+",")
		}
	}
	clients := blackboxClients(cases)
	for e, secured := range logged {
		name := clients[e.client].Name
		if !accepted[e] {
			t.Errorf("%q: Dovecot let in %+v, of which the gate knows nothing", name, e)
		}
		if e.account == blackboxVictim && !strings.HasSuffix(name, "the victim itself") {
			t.Errorf("%q: somebody came in as %s", name, e.account)
		}
		if inClear := e.client == blackboxClient(blackboxStranger); secured == inClear {
			t.Errorf("%q: %+v is logged as secured: %v", name, e, secured)
		}
	}
}

// loggedEntries is whom Dovecot has let in, and whether it took them for secured.
func (b *blackbox) loggedEntries(t *testing.T) map[blackboxEntry]bool {
	t.Helper()
	all := map[blackboxEntry]bool{}
	for line := range strings.Lines(b.dovecot.Logs()) {
		if !strings.Contains(line, "Login: ") {
			continue
		}
		m := blackboxLogin.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("Dovecot logs a login otherwise than expected: %s", line)
			continue
		}
		client, err := netip.ParseAddr(m[3])
		if err != nil {
			t.Error(err)
		}
		all[blackboxEntry{m[1], m[2], client}] = strings.Contains(m[4], " secured,")
	}
	return all
}
