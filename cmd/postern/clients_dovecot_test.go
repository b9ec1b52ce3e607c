//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// dovecot is the mail server of the tests with real mail programs. Every test that
// changes mail has an account of its own. The port that a client connected to is
// logged, to tell the tests apart.
var dovecot = mailtest.SharedDovecot{Config: mailtest.DovecotConfig{
	Accounts: slices.Concat(mailtest.DovecotAccounts(), []standin.Account{
		{Name: "filer", Secret: "pass"}, {Name: "idler", Secret: "pass"}, {Name: "reader", Secret: "pass"}, {Name: "waiter", Secret: "pass"},
	}),
	Settings: `login_log_format_elements = user=<%u> method=%m rip=%r lip=%l lport=%a %c
protocol imap {
  mail_plugins = imap_zlib
}
`,
}}

func init() { atEnd = append(atEnd, dovecot.Close) }

// startBefore runs a gateway in front of d and waits until it has learned the
// capabilities of d.
func startBefore(t *testing.T, d *mailtest.Dovecot, more ...string) *gateway {
	t.Helper()
	g := start(t, append(behind(d), more...)...)
	awaitCapabilities(t, g.Addr("imap"), g.Addr("pop3"))
	return g
}

// behind returns the settings of a gateway in front of d.
func behind(d *mailtest.Dovecot) []string {
	return []string{prefix + "IMAP_BACKENDS=" + d.IMAPProxy, prefix + "POP3_BACKENDS=" + d.POP3Proxy}
}

// awaitCapabilities waits until the listeners with STARTTLS and STLS offer what
// Dovecot does, which a gateway may learn only after its start.
func awaitCapabilities(t *testing.T, imap, pop3 string) {
	t.Helper()
	timeout := time.After(testbed.Patience)
	for !offers(t, imap, "a CAPABILITY", "a OK") || !offers(t, pop3, "CAPA", ".") {
		select {
		case <-time.After(100 * time.Millisecond): // well below LIMIT_CONNECT
		case <-timeout:
			t.Fatal("the capabilities of Dovecot are not offered")
		}
	}
}

// offers reports whether the answer to a command before login, up to a line that
// begins with end, has a SASL mechanism of Dovecot's in it.
func offers(t *testing.T, addr, command, end string) bool {
	t.Helper()
	c := testbed.Dial(t, addr)
	defer c.Close()
	c.Until("OK")
	c.PrintfLine("%s", command)
	for found := false; ; {
		line := c.Until("")
		found = found || strings.Contains(line, "CRAM-MD5")
		if strings.HasPrefix(line, end) {
			return found
		}
	}
}
