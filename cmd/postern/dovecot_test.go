//go:build linux

package main

import (
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// dovecot is the mail server behind the gates of the tests with real mail
// programs. Every test that changes mail has an account of its own. The port a
// client came to is logged, to tell the tests apart.
var dovecot = mailtest.SharedDovecot{Config: mailtest.DovecotConfig{
	Accounts: slices.Concat(mailtest.DovecotAccounts(), []standin.Account{
		{Name: "filer", Secret: "pass"}, {Name: "idler", Secret: "pass"}, {Name: "stayer", Secret: "pass"}, {Name: "waiter", Secret: "pass"},
	}),
	Settings: `login_log_format_elements = user=<%u> method=%m rip=%r lip=%l lport=%a %c
protocol imap {
  mail_plugins = imap_zlib
}
`,
}}

// bePostern in the environment makes this program postern itself, for the tests
// that need a process of its own.
const bePostern = "BE_POSTERN"

func TestMain(m *testing.M) {
	if os.Getenv(bePostern) != "" {
		main() // which does not return
	}
	code := m.Run()
	dovecot.Close()
	os.Exit(code)
}

// newHouseBefore opens a gate in front of d, lets clients in and waits until it
// knows what d offers.
func newHouseBefore(t *testing.T, d *mailtest.Dovecot, more ...string) *testHouse {
	t.Helper()
	h := newHouse(t, append(behind(d), more...)...)
	awaitOffer(t, h.at("imap"), h.at("pop3"))
	return h
}

// behind returns the settings that put d behind a gate.
func behind(d *mailtest.Dovecot) []string {
	return []string{prefix + "IMAP_BACKENDS=" + d.IMAPProxy, prefix + "POP3_BACKENDS=" + d.POP3Proxy}
}

// ca returns the file of the certificate that this house's doors show.
func (h *testHouse) ca() string { return filepath.Join(h.dir, "demo.crt") }

// awaitOffer waits until the doors with STARTTLS and STLS pass on what Dovecot
// offers, which a gate learns after it opens.
func awaitOffer(t *testing.T, imap, pop3 string) {
	t.Helper()
	timeout := time.After(patience)
	for !offers(t, imap, "a CAPABILITY", "a OK") || !offers(t, pop3, "CAPA", ".") {
		select {
		case <-time.After(100 * time.Millisecond): // well below LIMIT_CONNECT
		case <-timeout:
			t.Fatal("the gate has not learned what Dovecot offers")
		}
	}
}

// offers reports whether the answer to a question before login, up to a line
// that begins with end, has a mechanism of Dovecot's in it.
func offers(t *testing.T, addr, question, end string) bool {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := &client{textproto.NewConn(raw), t}
	raw.SetDeadline(time.Now().Add(patience))
	c.until("OK")
	c.PrintfLine("%s", question)
	for found := false; ; {
		line := c.until("")
		found = found || strings.Contains(line, "CRAM-MD5")
		if strings.HasPrefix(line, end) {
			return found
		}
	}
}
