//go:build linux

package main

import (
	"regexp"
	"strings"
	"testing"
)

// The tests of clients_*_test.go connect real mail programs through a complete
// gateway to a real Dovecot.

// TestMailPrograms: every mail program reads its mail at every listener it can use;
// gets an authentication error for a wrong password; and then, because its source
// has no guess left at the account, a temporary error for another one.
func TestMailPrograms(t *testing.T) {
	for _, p := range []mailProgram{curl, mbsync, fetchmail, getmail, neomutt, offlineimap, python} {
		for _, listener := range p.listeners {
			t.Run(p.name+"/"+listener, func(t *testing.T) {
				t.Parallel()
				d := dovecot.Get(t)
				g := startBefore(t, d, prefix+"LIMIT_PAIR=1/1h", prefix+"TARPIT_MAX=1ms")
				v := newRun(t, listener, g.Addr(listener), g.CertFile)
				if p.binds {
					v.Source = "127.3.2.1"
				}
				v.run(t, p).checkMessages(t, d.Accounts[0].Messages)
				g.log.Await(t, "event=login", "listener="+listener, "rip="+v.Source, "result=accepted", "account=user")
				d.WaitLog(t, "Login: user=<user>", "rip="+v.Source, "lport="+v.Port, " secured")

				wrong := v
				wrong.Secret = "wrong"
				wrong.run(t, p).check(t, p.denied[v.Protocol], map[string]string{"IMAP": "[AUTHENTICATIONFAILED]", "POP3": "[AUTH]"}[v.Protocol])
				g.log.Await(t, "event=login", "listener="+listener, "rip="+v.Source, "rule=none", "result=denied", "account=user")

				where := "backend=\"\""
				if p.name == curl.name { // it names the account after the backend's challenge
					where = "method=CRAM-MD5"
				}
				wrong.Secret = "wrong too"
				wrong.run(t, p).check(t, p.refused[v.Protocol], map[string]string{"IMAP": "[UNAVAILABLE]", "POP3": "[LOGIN-DELAY]"}[v.Protocol])
				g.log.Await(t, "event=login", "listener="+listener, "rip="+v.Source, "rule=pair", "result=refused", where)
			})
		}
	}
}

// check fails the test unless the program ended with code and printed word, which
// is in the answer of postern.
func (r result) check(t *testing.T, code int, word string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.text, word) {
		t.Errorf("exit %d, want %d and %s in\n%s", r.code, code, word, r.text)
	}
}

// checkMessages fails the test for every message that the program has not read
// once, line by line. It may have added to the headers.
func (r result) checkMessages(t *testing.T, messages [][]byte) {
	t.Helper()
	if r.code != 0 {
		t.Errorf("exit %d", r.code)
	}
	for _, m := range messages {
		head, body, _ := strings.Cut(strings.ReplaceAll(string(m), "\r\n", "\n"), "\n\n")
		for line := range strings.Lines(head + "\n") {
			n := strings.Count("\n"+r.text, "\n"+line)
			if n == 0 || n > 1 && strings.HasPrefix(line, "Message-ID:") {
				t.Errorf("%d times %q", n, line)
			}
		}
		if !strings.Contains(r.text, "\n\n"+body) {
			t.Errorf("not in full: %q", body)
		}
	}
	if t.Failed() {
		t.Logf("got %s", r.text)
	}
}

// TestRetryOnTheSameConnection sends two wrong passwords and then the right one on
// one connection.
func TestRetryOnTheSameConnection(t *testing.T) {
	for _, listener := range listenerNames {
		t.Run(listener, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			g := startBefore(t, d, prefix+"TARPIT_MAX=1ms")
			v := newRun(t, listener, g.Addr(listener), g.CertFile)
			v.wrong = []string{"wrong", "pas"}
			v.run(t, python).checkMessages(t, d.Accounts[0].Messages)
			session := regexp.MustCompile(`session=\S+`).FindString(g.log.Await(t, "event=login", "result=denied", "rule=none"))
			g.log.Await(t, "event=login", "result=denied", "rule=source", session)
			g.log.Await(t, "event=login", "result=accepted", session)
			g.log.Await(t, "event=connection", "attempts=3", "account=user", session)
		})
	}
}
