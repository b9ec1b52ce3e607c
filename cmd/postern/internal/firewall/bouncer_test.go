//go:build linux

package firewall_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

const bouncer = "crowdsec-firewall-bouncer"

// newList returns an empty list, of which nobody is protected.
func newList() *firewall.List {
	return firewall.New(firewall.Guard{
		Known: func(time.Time, netip.Addr) bool { return false }, Blocked: func(netip.Addr) bool { return true },
		Networks: func() map[firewall.Reason][]netip.Prefix { return nil }, Pause: func(time.Time) firewall.Reason { return "" },
	})
}

// list has addresses listed at time t.
func list(l *firewall.List, t time.Time, addrs ...string) {
	for i := range 30 {
		for _, addr := range addrs {
			l.Refused(t.Add(time.Duration(i-30)*6*time.Second), netip.MustParseAddr(addr), limiter.RuleSource, firewall.LoginCost)
		}
	}
	l.Update(t)
}

// serveList serves a list with the admin API at an address, and returns the token for it.
func serveList(t *testing.T, l *firewall.List) (url, token string) {
	t.Helper()
	token = "0123456789abcdef0123"
	c, err := config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN=127.0.0.1:0", "POSTERN_ADMIN_READ_TOKEN_FILE="+testbed.WriteFile(t, token)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := incidents.New(time.Now(), incidents.Config{Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	var clients firewall.Clients
	s, err := admin.Open(&c, admin.Gateway{
		Log: eventlog.New(io.Discard, "text", slog.LevelInfo), Metrics: http.NotFoundHandler(), Incidents: m,
		Firewall: func(t time.Time, client string, q firewall.Query) firewall.Stream {
			return l.Stream(t, clients.Since(t, client, q.Startup), q)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	go s.Serve()
	return "http://" + s.Addr().String(), token
}

// bouncerConfig writes the settings of Debian's bouncer, with more at the end, and returns the path.
func bouncerConfig(t *testing.T, url, token, more string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`mode: nftables
pid_dir: %[1]s
update_frequency: 1s
daemonize: false
log_mode: stdout
log_dir: %[1]s
log_level: debug
api_url: %[2]s/
api_key: %[3]s
deny_action: DROP
supported_decisions_types: [ban]
prometheus: {enabled: false}
`, dir, url, token) + more
	path := filepath.Join(dir, "bouncer.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startBouncer runs Debian's bouncer with the settings in more, and returns what kills it.
func startBouncer(t *testing.T, url, token, more string) (kill func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bouncer, "-c", bouncerConfig(t, url, token, more))
	cmd.Stdout, cmd.Stderr = log, log
	t.Cleanup(func() {
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s", text)
		}
		log.Close()
	})
	return start(t, cmd)
}

// setOnly has the bouncer fill the sets of deploy/nft/postern.nft.
const setOnly = `blacklists_ipv4: block4
blacklists_ipv6: block6
nftables:
  ipv4: {enabled: true, set-only: true, table: postern}
  ipv6: {enabled: true, set-only: true, table: postern}
`

// TestBouncerFillsTheSets: Debian's bouncer has the attackers dropped, all of an IPv6 /64, and
// only at the mail ports. What is removed from the list can connect again, and so can what is over
// when nobody removes it.
func TestBouncerFillsTheSets(t *testing.T) {
	if !runInNetwork(t, bouncer) {
		return
	}
	n := newNetwork(t)
	n.serve(993)
	n.serve(2222)
	n.run("nft -f ../../../../deploy/nft/postern.nft")
	l := newList()
	url, token := serveList(t, l)
	for _, from := range []string{attacker4, attacker6, neighbour6, user4, user6} {
		if !n.connects(from, 993) {
			t.Fatalf("%s cannot connect although nothing is listed", from)
		}
	}
	kill := startBouncer(t, url, token, setOnly)
	list(l, time.Now(), attacker4, attacker6)
	n.await(attacker4, false)
	n.await(attacker6, false)
	if n.connects(neighbour6, 993) {
		t.Error("another address of the same /64 can connect")
	}
	if !n.connects(user4, 993) || !n.connects(user6, 993) {
		t.Error("a user cannot connect")
	}
	if !n.connects(attacker4, 2222) {
		t.Error("a port that is not for mail is blocked")
	}
	l.Accepted(time.Now(), netip.MustParseAddr(attacker6))
	n.await(attacker6, true)
	if n.connects(attacker4, 993) {
		t.Error("another entry was removed")
	}
	kill()
	list(l, time.Now().Add(3*time.Second-firewall.FirstTime), user6) // this entry ends soon
	kill = startBouncer(t, url, token, setOnly)
	n.await(user6, false)
	kill()
	n.await(user6, true)
}

// TestBouncerWithATableOfItsOwn: as Debian configures it, for IPv4. With a wrong token it ends, as it
// does with CrowdSec.
func TestBouncerWithATableOfItsOwn(t *testing.T) {
	if !runInNetwork(t, bouncer) {
		return
	}
	n := newNetwork(t)
	n.serve(993)
	l := newList()
	url, token := serveList(t, l)
	list(l, time.Now(), attacker4)
	startBouncer(t, url, token, "")
	n.await(attacker4, false)
	if !n.connects(user4, 993) {
		t.Error("a user cannot connect")
	}
	l.Accepted(time.Now(), netip.MustParseAddr(attacker4))
	n.await(attacker4, true)

	out, _ := exec.Command(bouncer, "-c", bouncerConfig(t, url, "wrong", "")).CombinedOutput() // it exits with 0
	if text := string(out); !strings.Contains(text, "level=error") || strings.Contains(text, "panic") || strings.Contains(text, "goroutine") {
		t.Errorf("with a wrong token: %s", text)
	}
}

// TestNFTAppliesTheList in one transaction, with each address on its own, and the comparison tells what
// is missing.
func TestNFTAppliesTheList(t *testing.T) {
	if !runInNetwork(t) {
		return
	}
	n := newNetwork(t)
	n.serve(993)
	n.serve(2222)
	const table = "../../../../deploy/nft/postern.nft"
	n.run("nft -f " + table)
	l := newList()
	many := []string{attacker4, attacker6, "192.0.2.6", "192.0.2.8"} // on both sides of user4
	for i := range firewall.EntriesMax - len(many) {
		many = append(many, fmt.Sprintf("198.%d.%d.%d", 18+i>>16, i>>8&255, i&255))
	}
	list(l, time.Now(), many...)
	apply := func() []firewall.Wanted {
		t.Helper()
		s := l.Stream(time.Now(), time.Time{}, firewall.Query{Simulated: true})
		wanted, err := firewall.Read(&s)
		if err != nil {
			t.Fatal(err)
		}
		var script strings.Builder
		if err := firewall.WriteNFT(&script, wanted); err != nil {
			t.Fatal(err)
		}
		n.run("nft -f -", script.String())
		return wanted
	}
	compare := func(wanted []firewall.Wanted) firewall.Comparison {
		t.Helper()
		c, err := firewall.Compare(time.Now().Add(time.Hour), wanted, []byte(n.run("nft -j list table inet postern")))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	wanted := apply()
	if c := compare(wanted); c.Wanted != firewall.EntriesMax || c.Missing != 0 || c.Surplus != 0 {
		t.Errorf("after the first time: %v", c)
	}
	for from, want := range map[string]bool{attacker4: false, attacker6: false, neighbour6: false, user4: true, user6: true} {
		if got := n.connects(from, 993); got != want {
			t.Errorf("%s connects: %v, want %v", from, got, want)
		}
	}
	if !n.connects(attacker4, 2222) {
		t.Error("a port that is not for mail is blocked")
	}
	n.run("nft delete element inet postern block4 { " + attacker4 + " }")
	n.run("nft add element inet postern block4 { " + user4 + " timeout 1h }")
	if c := compare(wanted); c.Missing != 1 || c.Surplus != 1 || c.OK() {
		t.Errorf("with one missing and another one: %v", c)
	}
	n.run("nft -f " + table) // keeps the elements
	if n.connects(user4, 993) {
		t.Error("loading the table has emptied its sets")
	}
	wanted = apply()
	if c := compare(wanted); c.Missing != 0 || c.Surplus != 0 || !n.connects(user4, 993) || n.connects(attacker4, 993) {
		t.Errorf("after the second time: %v", c)
	}

	l.SetObserve(time.Now(), true)
	list(l, time.Now(), attacker4)
	if c := compare(apply()); c.Wanted != 1 || c.Missing != 0 || c.Surplus != 0 {
		t.Errorf("in observe mode: %v", c)
	}
	if !n.connects(attacker4, 993) {
		t.Error("in observe mode something is dropped")
	}
	if text := n.run("nft list chain inet postern input"); !strings.Contains(text, "@observe4 counter packets 1") {
		t.Errorf("in observe mode nothing is counted: %s", text)
	}
}
