//go:build linux

package main

import (
	"regexp"
	"strings"
	"testing"
)

// The tests of clients_*_test.go let real mail programs through a whole gate to
// a real Dovecot.

// TestMailPrograms: every mail program reads its mail through every door it
// knows; is told that a wrong password is wrong; and then, its source having
// spent its guesses, is told to come again later with any other wrong one.
func TestMailPrograms(t *testing.T) {
	for _, p := range []mailProgram{curl, mbsync, fetchmail, getmail, neomutt, offlineimap, python} {
		for _, door := range p.doors {
			t.Run(p.name+"/"+door, func(t *testing.T) {
				t.Parallel()
				d := dovecot.Get(t)
				h := newHouseBefore(t, d, prefix+"LIMIT_SOURCE=1/1h", prefix+"TARPIT_MAX=1ms")
				v := visitTo(t, door, h.at(door), h.ca())
				if p.binds {
					v.Source = "127.3.2.1"
				}
				v.run(t, p).read(t, d.Accounts[0].Messages)
				h.log.await(t, "event=login", "listener="+door, "rip="+v.Source, "result=accepted", "account=user")
				d.WaitLog(t, "Login: user=<user>", "rip="+v.Source, "lport="+v.Port, " secured")

				wrong := v
				wrong.Secret = "wrong"
				wrong.run(t, p).told(t, p.denied[v.Protocol], map[string]string{"IMAP": "[AUTHENTICATIONFAILED]", "POP3": "[AUTH]"}[v.Protocol])
				h.log.await(t, "event=login", "listener="+door, "rip="+v.Source, "rule=none", "result=denied", "account=user")

				wrong.Secret = "wrong too"
				wrong.run(t, p).told(t, p.refused[v.Protocol], map[string]string{"IMAP": "[UNAVAILABLE]", "POP3": "[SYS/TEMP]"}[v.Protocol])
				h.log.await(t, "event=login", "listener="+door, "rip="+v.Source, "rule=source", "result=refused", "backend=\"\"")
			})
		}
	}
}

// told complains unless the program ended with code and showed what the gate
// said.
func (r ran) told(t *testing.T, code int, word string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.text, word) {
		t.Errorf("exit %d, want %d and %s in\n%s", r.code, code, word, r.text)
	}
}

// read complains of every message that the program has not read once, line by
// line. It may have added to the headers.
func (r ran) read(t *testing.T, messages [][]byte) {
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

// TestRetryOnTheSameConnection gets a password wrong and then right without
// coming anew.
func TestRetryOnTheSameConnection(t *testing.T) {
	for _, door := range doorNames {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			h := newHouseBefore(t, d, prefix+"TARPIT_MAX=1ms")
			v := visitTo(t, door, h.at(door), h.ca())
			v.wrong = []string{"wrong", "pas"}
			v.run(t, python).read(t, d.Accounts[0].Messages)
			session := regexp.MustCompile(`session=\S+`).FindString(h.log.await(t, "event=login", "result=denied", "rule=none"))
			h.log.await(t, "event=login", "result=denied", "rule=source", session)
			h.log.await(t, "event=login", "result=accepted", session)
			h.log.await(t, "event=connection", "attempts=3", "account=user", session)
		})
	}
}
