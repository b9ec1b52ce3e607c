//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
)

// way is how a mail program logs in at a listener: by a SASL mechanism, or by the
// login command of the protocol.
type way struct {
	program   mailProgram
	mechanism string
	listeners []string
}

// method is the name of the way in the log, at one listener.
func (w way) method(listener string) string {
	switch {
	case w.mechanism != "":
		return w.mechanism
	case slices.Contains(imapListeners, listener):
		return "LOGIN"
	}
	return "USER"
}

// TestMechanisms logs in by every mechanism that Dovecot offers, with the right
// password and with a wrong one.
func TestMechanisms(t *testing.T) {
	pop3Listeners := listenerNames[2:]
	for _, w := range []way{
		{curl, "PLAIN", imapListeners},
		{curl, "LOGIN", imapListeners},
		{curl, "CRAM-MD5", listenerNames},
		{curl, "OAUTHBEARER", listenerNames},
		{python, "PLAIN", listenerNames}, // not announced for POP3, yet accepted
		{python, "XOAUTH2", listenerNames},
		{mbsync, "SCRAM-SHA-1", imapListeners},
		{mbsync, "SCRAM-SHA-256", imapListeners},
		{neomutt, "XOAUTH2", imapListeners},
		{neomutt, "SCRAM-SHA-256", pop3Listeners},
	} {
		for _, listener := range w.listeners {
			t.Run(w.program.name+"/"+w.mechanism+"/"+listener, func(t *testing.T) {
				t.Parallel()
				d := dovecot.Get(t)
				g := startBefore(t, d, prefix+"TARPIT_MAX=1ms")
				v := newRun(t, listener, g.Addr(listener), g.CertFile)
				v.Mechanism = w.mechanism
				if w.program.name == "mbsync" {
					needSASL(t)
				}
				if w.mechanism == "XOAUTH2" || w.mechanism == "OAUTHBEARER" {
					v.Secret = mailtest.DovecotToken(v.User)
				}
				v.run(t, w.program).checkMessages(t, d.Accounts[0].Messages)
				g.log.Await(t, "event=login", "result=accepted", "method="+w.method(listener)+" ", "account=user")
				d.WaitLog(t, "Login: user=<user>", "lport="+v.Port, " secured")

				v.Secret = "wrong"
				v.run(t, w.program)
				g.log.Await(t, "event=login", "result=denied", "method="+w.method(listener)+" ")
			})
		}
	}
}

// needSASL skips the test, or fails it where nothing may be skipped, without the
// SASL library of mbsync. Its mechanisms are a package of their own.
func needSASL(t *testing.T) {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/*/sasl2/libscram.so*"); len(found) == 0 {
		testbed.Missing(t, "SASL for mbsync (Debian package libsasl2-modules)")
	}
}

// TestPasswords: every password reaches Dovecot unchanged.
func TestPasswords(t *testing.T) {
	for _, a := range mailtest.DovecotAccounts() {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			g := startBefore(t, d)
			for _, w := range []way{
				{curl, "PLAIN", []string{"imaps"}},
				{curl, "LOGIN", []string{"imap"}},
				{curl, "CRAM-MD5", []string{"pop3s"}},
				{python, "PLAIN", []string{"imap", "pop3"}},
				{python, "", []string{"imaps", "pop3s"}},
			} {
				for _, listener := range w.listeners {
					v := newRun(t, listener, g.Addr(listener), g.CertFile)
					v.User, v.Secret, v.Mechanism = a.Name, a.Secret, w.mechanism
					v.run(t, w.program) // the exit code depends on whether there is mail
					g.log.Await(t, "event=login", "listener="+listener, "result=accepted", "method="+w.method(listener)+" ", "account="+a.Name+"\n")
				}
			}
		})
	}
}
