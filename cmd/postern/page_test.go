//go:build linux

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/browser"
	"postern/cmd/postern/internal/testbed"
)

// TestPageOfGateway: an operator sees in Chromium who was refused, asks why, and blocks a
// network, on the page of a real gateway. The page goes on over an upgrade.
func TestPageOfGateway(t *testing.T) {
	b := browser.Start(t)
	s := newSupervisor(t, nil, "LIMIT_PAIR", "2/1000h", "TARPIT_MAX", "1ms", "TRIES", "1")
	admin := strings.TrimSuffix(s.addr("metrics"), supervisorPorts["metrics"]) + "1145"
	s.set(t, "ADMIN_LISTEN", admin)
	s.start(t)
	source := address(60, 7)
	for i := range 3 {
		_ = logInAndOut(dialers(s)[0], source, testbed.Account.Name, fmt.Sprint("wrong", i))
	}
	token, err := os.ReadFile(filepath.Join(s.state, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}

	p := b.Tab(t, browser.Screen{Width: 1400, Height: 900})
	p.Open("http://" + admin + "/")
	shows := func(selector, text string) {
		t.Helper()
		p.Await(fmt.Sprintf("%q in %s", text, selector), fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, text))
	}
	p.Await("live data", "document.body.dataset.live === 'live'")
	p.Fill("#token", strings.TrimSpace(string(token)))
	p.Click("#login button")
	shows("#role", "Operator")
	p.Fill("#by", "anna")
	shows("#sources", source.String())
	shows("#refusal-list", testbed.Account.Name)

	p.Fill("#about", source.String())
	p.Press(browser.Enter)
	shows("#answer", "POSTERN_LIMIT_PAIR")
	shows("#answer", "postern release")

	p.Fill("#decide input[name=network]", source.String())
	p.Click("#decide button")
	shows("#dialog", "it has loopback addresses of the gateway itself")
	p.Click("#dialog-ok")
	shows("#decision-list", source.String())
	if err := s.tryFrom(source); err == nil {
		t.Error("a client that was blocked on the page has logged in")
	}
	shows("#refusal-list", "blocked")

	s.upgrade(t)
	shows("#upgraded", "The gateway was upgraded")
	p.Await("live data", "document.body.dataset.live === 'live'")
	if all := s.inForce(t); len(all) != 1 || all[0].By != "anna" {
		t.Errorf("got %+v in force after the upgrade", all)
	}
	p.Click("#decision-list tbody button")
	await(t, "the end of the decision", func() bool { return len(s.inForce(t)) == 0 })
	if err := s.tryFrom(address(60, 8)); err != nil {
		t.Errorf("after the end of the decision: %v", err)
	}
	p.Screenshot("gateway", true)
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("the browser reports %q", problems)
	}
	if got := p.Origins(); !slices.Equal(got, []string{"http://" + admin}) {
		t.Errorf("got requests to %q, want only %s", got, admin)
	}
	response, err := http.Get("http://" + admin + "/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if policy := response.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") {
		t.Errorf("got policy %q", policy)
	}
}
