package eventlog_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/testbed"
)

// gateway is a gateway in front of a stand-in mail server. Its clients say in a PROXY
// header which address they come from.
type gateway struct {
	addr string // of its IMAP listener
	log  *testbed.Log
	stop func()
}

// startGateway starts a gateway with settings under which nobody waits.
func startGateway(t *testing.T, format string) *gateway {
	t.Helper()
	site := testbed.NewSite(t, "POSTERN_LOG_FORMAT="+format, "POSTERN_PROXY_FROM=127.0.0.1/32", "POSTERN_CLEARTEXT_LOGIN=true", "POSTERN_TARPIT_MAX=1ms", "POSTERN_LIMIT_CONNECT=80/10m")
	g := &gateway{log: testbed.NewLog()}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Environ: site.Environ, Log: g.log, Ready: func(d *daemon.Daemon) { ready <- d.Addr("imap") }})
	}()
	select {
	case g.addr = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	g.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return g
}

// connect connects from an address and returns the connection and the first line of
// the gateway.
func (g *gateway) connect(t *testing.T, from string) (c *testbed.Client, greeting string) {
	t.Helper()
	family, to := "TCP4", "192.0.2.250"
	if netip.MustParseAddr(from).Is6() {
		family, to = "TCP6", "2001:db8::250"
	}
	c = testbed.Dial(t, g.addr)
	if err := c.PrintfLine("PROXY %s %s %s 50000 143", family, from, to); err != nil {
		t.Fatal(err)
	}
	return c, c.Until("* ")
}

// logIn makes one attempt on a connection of its own.
func (g *gateway) logIn(t *testing.T, from, account, password string) {
	t.Helper()
	c, greeting := g.connect(t, from)
	defer c.Close()
	if strings.HasPrefix(greeting, "* OK") {
		c.Say(fmt.Sprintf("a LOGIN %s %s", account, password), "a ")
	}
}

// attack plays sources that go on after they were refused, and clients that no filter
// may match. It returns the addresses of the former.
func attack(t *testing.T, g *gateway) (refused []string) {
	t.Helper()
	const oneAccount, allAccounts, ipv6, flood, spraying = "203.0.113.1", "203.0.113.2", "2001:db8::3", "203.0.113.4", "198.51.100.99"
	const user, phone = "192.0.2.2", "192.0.2.1"
	for i := range 60 {
		g.logIn(t, user, testbed.Account.Name, testbed.Account.Secret)
		g.logIn(t, phone, "kari", "old")
		g.logIn(t, oneAccount, "ola", fmt.Sprint("guess", i))
		g.logIn(t, allAccounts, fmt.Sprint("user", i), fmt.Sprint("guess", i))
		g.logIn(t, ipv6, fmt.Sprint("user", i), fmt.Sprint("guess", i))
	}
	for i := range 10 { // a known user who has forgotten the password
		g.logIn(t, user, testbed.Account.Name, fmt.Sprint("mistake", i))
	}
	for range 100 {
		c, _ := g.connect(t, flood)
		c.Close()
	}
	for i := range 30 { // each is refused because of the others
		g.logIn(t, fmt.Sprintf("100.64.%d.1", i), "target", fmt.Sprint("guess", i))
	}
	for i := range 45 { // one wrong password each
		g.logIn(t, fmt.Sprintf("198.18.%d.1", i), fmt.Sprint("sprayed", i), "Spring2026")
	}
	for i := range 20 {
		g.logIn(t, spraying, fmt.Sprint("sprayed", 100+i), "Spring2026")
	}
	return []string{oneAccount, allAccounts, ipv6, flood, spraying}
}

// refusals counts the refusals of each address in a log: the sessions that were
// refused, except by rule spray, and the lines left_out about these. A user whose
// password is one that is sprayed must not be banned.
func refusals(t *testing.T, format, log string) map[string]int {
	t.Helper()
	sessions, got := map[string]bool{}, map[string]int{}
	for line := range strings.Lines(log) {
		_, f, err := testbed.ParseLine(format, strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		refused := f["result"] == "refused" || f["event"] == "left_out" && f["action"] == "reject"
		if refused && f["rule"] != "spray" && !sessions[f["session"]] {
			got[f["rip"]]++
			sessions[f["session"]] = f["session"] != ""
		}
	}
	return got
}

// matched counts the lines of a log that fail2ban matches with these options, by the
// address it would ban.
func matched(t *testing.T, log string, options ...string) map[string]int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "postern.log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	options = append(options, "-o", "ip", file, "../../../../deploy/fail2ban/filter.d/postern.conf")
	out, err := exec.CommandContext(t.Context(), "fail2ban-regex", options...).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, addr := range strings.Fields(string(out)) {
		got[addr]++
	}
	return got
}

// withPrefix returns the log with the prefix of the journal before each line.
func withPrefix(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		b.WriteString("Nov 23 15:59:00 mail1 postern[42]: " + line)
	}
	return b.String()
}

// TestFail2banMatchesRefusedSources runs fail2ban on the log of a real gateway, as a
// file and as the journal: each refusal of a source that goes on is a match, and
// nothing of anybody else.
func TestFail2banMatchesRefusedSources(t *testing.T) {
	if _, err := exec.LookPath("fail2ban-regex"); err != nil {
		testbed.Missing(t, "fail2ban-regex")
	}
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			g := startGateway(t, format)
			sources := attack(t, g)
			g.stop()
			log := g.log.String()
			want := refusals(t, format, log)
			checkMatches(t, "file", sources, matched(t, log), want)
			checkMatches(t, "journal", sources, matched(t, log, "-d", "{NONE}"), want)
			checkMatches(t, "syslog", sources, matched(t, withPrefix(log)), want)
		})
	}
}

// checkMatches compares the lines matched of each address with its refusals.
func checkMatches(t *testing.T, name string, sources []string, got, want map[string]int) {
	t.Helper()
	for _, addr := range sources {
		if want[addr] < 10 || float64(got[addr]) < .95*float64(want[addr]) || got[addr] > want[addr] {
			t.Errorf("%s: %s: %d lines matched, want one for each of %d refusals", name, addr, got[addr], want[addr])
		}
		delete(got, addr)
	}
	for addr, n := range got {
		t.Errorf("%s: %s: %d lines matched, want none", name, addr, n)
	}
}
