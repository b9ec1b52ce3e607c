package main

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// startSite starts gateways with these names that share through one engine.
func startSite(t *testing.T, names ...string) (all []*gateway) {
	t.Helper()
	engine := testbed.StartEngine(t, testbed.AnyEngine(t))
	key := testbed.KeyFile(t)
	for _, name := range names {
		all = append(all, start(t, prefix+"SHARE_URL="+engine.URL(), prefix+"KEY_FILE="+key, prefix+"GATEWAY="+name, prefix+"STATE_DIR="+t.TempDir()))
	}
	for _, g := range all {
		g.log.Await(t, "counting together with other gateways")
	}
	return all
}

// TestTwoGateways: three settings, and both gateways are in the status of each; what one has learned from a log, both know;
// what an operator blocks at one, both block, until it is ended at either.
func TestTwoGateways(t *testing.T) {
	site := startSite(t, "gw1", "gw2")
	a, b := site[0], site[1]
	for _, g := range site {
		g.awaitOutput(t, "gw1 .* shared .*\n.*gw2 .* shared ", "status")
	}
	code, out := a.command(t, "block", "203.0.113.0/24", "-for", "1h", "-comment", "guesses")
	if code != exitOK {
		t.Fatalf("block: exit %d, %s", code, out)
	}
	b.log.Await(t, "decision made at another gateway", "network=203.0.113.0/24", "gateway=gw1")
	id := b.awaitOutput(t, `(?m)^(\w+) .*203\.0\.113\.0/24`, "decisions")[1]
	if code, out := b.command(t, "decisions", "-end", id); code != exitOK {
		t.Fatalf("end: exit %d, %s", code, out)
	}
	a.log.Await(t, "decision ended at another gateway", "gateway=gw2")

	if code, out := b.command(t, "learn", learnLog(t, 15, 100)); code != exitOK {
		t.Fatalf("learn: exit %d, %s", code, out)
	}
	a.awaitOutput(t, `(?m)^postern_known_accounts 100$`)
}

// awaitOutput waits until a command against g, or its metrics without one, print what matches a pattern, and returns the
// submatches.
func (g *gateway) awaitOutput(t *testing.T, pattern string, args ...string) []string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for end := time.Now().Add(testbed.Patience); ; <-time.After(20 * time.Millisecond) {
		out := ""
		if len(args) > 0 {
			_, out = g.command(t, args...)
		} else {
			out = fmt.Sprintf("postern_known_accounts %v\n", testbed.Gauge(g.scrape(t), "postern_known_accounts"))
		}
		if found := want.FindStringSubmatch(out); found != nil {
			return found
		}
		if time.Now().After(end) {
			t.Fatalf("%v: got no %q within %v:\n%s", args, pattern, testbed.Patience, out)
		}
	}
}
