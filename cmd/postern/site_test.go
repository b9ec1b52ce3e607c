//go:build linux

package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// A site has several gateways, each a process in a network of its own, that share with
// each other over one engine, and one Dovecot behind them.
type site struct {
	network  *siteNetwork
	dovecot  *mailtest.Dovecot
	engine   *testbed.Engine
	gateways []*supervisor
	dialers  [][2]*client.Dialer // to each gateway: imaps first
}

// newSite starts a site and waits until all gateways count together. Settings in more are
// pairs of name and value, of all gateways.
func newSite(t *testing.T, size int, accounts []standin.Account, more ...string) *site {
	t.Helper()
	s := prepareSite(t, size, accounts, more...)
	for _, g := range s.gateways {
		g.start(t)
	}
	s.awaitShared(t)
	return s
}

// prepareSite is newSite without the start of the gateways.
func prepareSite(t *testing.T, size int, accounts []standin.Account, more ...string) *site {
	t.Helper()
	n := newSiteNetwork(t, size)
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Accounts: append(accounts, testbed.Account), Settings: fmt.Sprintf(
		"listen = 127.0.0.1, %s\nhaproxy_trusted_networks = 127.0.0.0/8 %s/24\ndisable_plaintext_auth = no\n", n.addr(mailHost), n.addr(0))})
	_, port, err := net.SplitHostPort(d.IMAPProxy)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{network: n, dovecot: d, engine: testbed.StartEngine(t, testbed.AnyEngine(t), "bind 127.0.0.1 "+n.addr(engineHost), "protected-mode no")}
	key := make([]byte, 32)
	rand.Read(key)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	cert := testbed.NewCertificate(t)
	for i := range size {
		g := newSupervisorAt(t, n.gatewayAddr(i), cert, net.JoinHostPort(n.addr(mailHost), port), append([]string{
			"GATEWAY", gatewayName(i), "KEY_FILE", keyFile, "SHARE_URL", fmt.Sprintf("valkey://%s:%d", n.addr(engineHost), s.engine.Port),
			"PROXY_FROM", n.addr(mailHost), "LIMIT_GLOBAL", "5000/1s", "TARPIT_MAX", "1s", "DRAIN", "5s"}, more...)...)
		g.within = []string{"ip", "netns", "exec", n.namespace(i)}
		s.gateways = append(s.gateways, g)
		two := dialers(g)
		for _, d := range two {
			d.ProxyHeader = true
		}
		s.dialers = append(s.dialers, two)
	}
	return s
}

// gatewayName is the name of a gateway of a site.
func gatewayName(i int) string { return fmt.Sprintf("gateway%d", i) }

// sharing is how a gateway counts together with others.
func (s *supervisor) sharing(t *testing.T) monitor.Sharing {
	t.Helper()
	_, text := s.command(t, "status", "-json") // fails if there is something to do
	var state monitor.State
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&state); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if state.Sharing == nil {
		t.Fatalf("does not share:\n%s", text)
	}
	return *state.Sharing
}

// awaitShared waits until each gateway counts together with all others, and one leads.
func (s *site) awaitShared(t *testing.T) {
	t.Helper()
	for i, g := range s.gateways {
		await(t, fmt.Sprintf("gateway %d to count together with the others", i), func() bool {
			now := g.sharing(t)
			return now.Mode == monitor.Shared && len(now.Members) == len(s.gateways) && now.Leader != ""
		})
	}
}

// awaitAlone waits until gateways count alone, and returns how long the last one took.
func (s *site) awaitAlone(t *testing.T, gateways ...int) {
	t.Helper()
	begin := time.Now()
	for _, i := range gateways {
		await(t, fmt.Sprintf("gateway %d to count alone", i), func() bool { return s.gateways[i].sharing(t).Mode == monitor.Alone })
	}
	t.Logf("gateways %v count alone after %v", gateways, time.Since(begin).Round(time.Millisecond))
}

// login logs an account in and out at a gateway, without TLS, which must succeed.
func (s *site) login(t *testing.T, gateway, account int) {
	t.Helper()
	if err := logInAndOut(s.dialers[gateway][1], loginSource(account), loginAccount(account), loginSecret); err != nil {
		t.Errorf("login of %s at gateway %d: %v", loginAccount(account), gateway, err)
	}
}

// siteAccounts are those of the users of a site.
func siteAccounts() (all []standin.Account) {
	for i := range siteSize {
		all = append(all, standin.Account{Name: loginAccount(i), Secret: loginSecret})
	}
	return all
}

// TestSiteStatus: `postern status` shows all gateways of a site.
func TestSiteStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, nil)
	if err := logInAndOut(s.dialers[0][0], address(0, 0), testbed.Account.Name, testbed.Account.Secret); err != nil {
		t.Error(err)
	}
	for _, g := range s.gateways {
		code, text := g.command(t, "status")
		if code != exitOK || !strings.Contains(text, gatewayName(0)) || !strings.Contains(text, gatewayName(1)) {
			t.Errorf("exit %d, want both gateways in\n%s", code, text)
		}
	}
	for _, name := range strings.Split(s.engine.Do("KEYS", "*"), "\n") {
		data, err := s.engine.Try("DUMP", name)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{testbed.Account.Name, testbed.Account.Secret, "127.0.0.1"} {
			if strings.Contains(data, secret) {
				t.Errorf("%s has %q in clear", name, secret)
			}
		}
	}
}
