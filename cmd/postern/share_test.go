package main

import (
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// startSite starts gateways with these names that share through one engine.
func startSite(t *testing.T, names ...string) (all []*gateway) {
	t.Helper()
	engine := testbed.StartEngine(t, testbed.AnyEngine(t))
	key := testbed.WriteFile(t, strings.Repeat("0123456789abcdef", 4)+"\n")
	for _, name := range names {
		all = append(all, start(t, prefix+"SHARE_URL="+engine.URL(), prefix+"KEY_FILE="+key, prefix+"GATEWAY="+name, prefix+"STATE_DIR="+t.TempDir()))
	}
	for _, g := range all {
		g.log.Await(t, "counting together with other gateways")
	}
	return all
}

// TestTwoGateways: three settings, and both gateways are in the status of each, know the users of the other, and refuse
// whom an operator has blocked at one of them.
func TestTwoGateways(t *testing.T) {
	site := startSite(t, "gw1", "gw2")
	a, b := site[0], site[1]
	a.dial(t, "imaps").Login()
	code, out := b.command(t, "status")
	t.Log(code, out)
	code, out = a.command(t, "block", "203.0.113.0/24", "-for", "1h")
	if code != exitOK {
		t.Errorf("block: exit %d, %s", code, out)
	}
	b.log.Await(t, "decision made at another gateway", "network=203.0.113.0/24", "gateway=gw1")
	if _, out := b.command(t, "decisions"); !strings.Contains(out, "203.0.113.0/24") {
		t.Errorf("got the decisions\n%s", out)
	}
}
