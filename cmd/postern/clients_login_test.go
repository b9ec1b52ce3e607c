//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
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

// TestPasswords: every password reaches Dovecot unchanged, by every way to send it.
// One process logs in with all accounts.
func TestPasswords(t *testing.T) {
	accounts := mailtest.DovecotAccounts()
	g := startBefore(t, dovecot.Get(t), prefix+"LIMIT_CONNECT=off", prefix+"LIMIT_OPEN_PRELOGIN=off")
	for _, w := range []way{
		{curl, "PLAIN", []string{"imaps"}},
		{curl, "LOGIN", []string{"imap"}},
		{curl, "CRAM-MD5", []string{"pop3s"}},
		{python, "PLAIN", []string{"imap", "pop3"}},
		{python, "", []string{"imaps", "pop3s"}},
	} {
		for _, listener := range w.listeners {
			t.Run(w.program.name+"/"+w.method(listener)+"/"+listener, func(t *testing.T) {
				t.Parallel()
				w.program.need(t)
				v := newRun(t, listener, g.Addr(listener), g.CertFile)
				v.Mechanism = w.mechanism
				if w.program.name == "curl" {
					v.curlAll(t, accounts)
				} else {
					v.pythonAll(t, accounts)
				}
				for _, a := range accounts {
					g.log.Await(t, "event=login", "listener="+listener, "result=accepted", "method="+w.method(listener)+" ", "account="+a.Name+"\n")
				}
			})
		}
	}
}

// curlAll logs in with all accounts. The exit code depends on whether the last one
// has mail.
func (v programRun) curlAll(t *testing.T, accounts []standin.Account) {
	t.Helper()
	args := []string{"curl"}
	for i, a := range accounts {
		if i > 0 {
			args = append(args, "--next")
		}
		v.User, v.Secret = a.Name, a.Secret
		own := curlCommand(v)[1:]
		args = append(args, slices.DeleteFunc(own, func(arg string) bool { return arg == "--fail-early" })...)
	}
	runProgram(t, t.TempDir(), nil, args...)
}

// pythonAll logs in with all accounts.
func (v programRun) pythonAll(t *testing.T, accounts []standin.Account) {
	t.Helper()
	type account struct {
		Name   string
		Secret []byte
	}
	var list []account
	for _, a := range accounts {
		list = append(list, account{a.Name, []byte(a.Secret)})
	}
	input, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	method := cmp.Or(v.Mechanism, "LOGIN")
	r := runProgram(t, t.TempDir(), input, "python3", v.testdata("passwords.py"), strings.ToLower(v.Protocol), method, v.Port, fmt.Sprint(v.Implicit), v.CA)
	r.check(t, 0, "")
}
