//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"testing"

	"postern/proxy/mailtest"
)

// way is how a mail program logs in at a door: by a SASL mechanism, or by the
// plain command of the protocol.
type way struct {
	program   mailProgram
	mechanism string
	doors     []string
}

// method is what the gate's log calls the way at one door.
func (w way) method(door string) string {
	switch {
	case w.mechanism != "":
		return w.mechanism
	case slices.Contains(imapDoors, door):
		return "LOGIN"
	}
	return "USER"
}

// TestMechanisms: every mechanism that Dovecot offers takes the client in or
// not, and the limiter hears which.
func TestMechanisms(t *testing.T) {
	pop3Doors := doorNames[2:]
	for _, w := range []way{
		{curl, "PLAIN", imapDoors},
		{curl, "LOGIN", imapDoors},
		{curl, "CRAM-MD5", doorNames},
		{curl, "OAUTHBEARER", doorNames},
		{python, "PLAIN", doorNames}, // not announced for POP3, yet taken
		{python, "XOAUTH2", doorNames},
		{mbsync, "SCRAM-SHA-1", imapDoors},
		{mbsync, "SCRAM-SHA-256", imapDoors},
		{neomutt, "XOAUTH2", imapDoors},
		{neomutt, "SCRAM-SHA-256", pop3Doors},
	} {
		for _, door := range w.doors {
			t.Run(w.program.name+"/"+w.mechanism+"/"+door, func(t *testing.T) {
				t.Parallel()
				d := dovecot.Get(t)
				h := newHouseBefore(t, d, prefix+"TARPIT_MAX=1ms")
				v := visitTo(t, door, h.at(door), h.ca())
				v.Mechanism = w.mechanism
				if w.program.name == "mbsync" {
					needSASL(t)
				}
				if w.mechanism == "XOAUTH2" || w.mechanism == "OAUTHBEARER" {
					v.Secret = mailtest.DovecotToken(v.User)
				}
				v.run(t, w.program).read(t, d.Accounts[0].Messages)
				h.log.await(t, "event=login", "result=accepted", "method="+w.method(door)+" ", "account=user")
				d.WaitLog(t, "Login: user=<user>", "lport="+v.Port, " secured")

				v.Secret = "wrong"
				v.run(t, w.program)
				h.log.await(t, "event=login", "result=denied", "method="+w.method(door)+" ")
			})
		}
	}
}

// needSASL is need for the library that mbsync leaves SASL to. Its mechanisms
// are a package of their own.
func needSASL(t *testing.T) {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/*/sasl2/libscram.so*"); len(found) == 0 {
		absent(t, "SASL for mbsync (Debian package libsasl2-modules)")
	}
}

// TestPasswords: whatever stands in a password, it reaches Dovecot as it is.
func TestPasswords(t *testing.T) {
	for _, a := range mailtest.DovecotAccounts() {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			h := newHouseBefore(t, d)
			for _, w := range []way{
				{curl, "PLAIN", []string{"imaps"}},
				{curl, "LOGIN", []string{"imap"}},
				{curl, "CRAM-MD5", []string{"pop3s"}},
				{python, "PLAIN", []string{"imap", "pop3"}},
				{python, "", []string{"imaps", "pop3s"}},
			} {
				for _, door := range w.doors {
					v := visitTo(t, door, h.at(door), h.ca())
					v.User, v.Secret, v.Mechanism = a.Name, a.Secret, w.mechanism
					v.run(t, w.program) // how it ends depends on whether there is mail
					h.log.await(t, "event=login", "listener="+door, "result=accepted", "method="+w.method(door)+" ", "account="+a.Name+"\n")
				}
			}
		})
	}
}
