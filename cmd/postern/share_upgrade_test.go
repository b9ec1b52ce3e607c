//go:build linux

package main

import (
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// TestUpgradeWhileSharing: an upgrade goes on with the other gateways, with an engine that hangs or is down too, and neither
// an upgrade nor the end waits for the engine.
func TestUpgradeWhileSharing(t *testing.T) {
	t.Parallel()
	engine := testbed.StartEngine(t, testbed.AnyEngine(t))
	share := []string{"SHARE_URL", engine.URL(), "KEY_FILE", testbed.KeyFile(t)}
	a, b := newSupervisor(t, nil, append(share, "GATEWAY", "gw1")...), newSupervisor(t, nil, append(share, "GATEWAY", "gw2")...)
	a.start(t)
	b.start(t)
	b.log.Await(t, "counting together with other gateways", "gateways=2")
	reaches := func(network string) {
		t.Helper()
		if code, out := a.command(t, "block", network, "-for", "1h"); code != exitOK {
			t.Fatalf("block: exit %d, %s", code, out)
		}
		b.log.Await(t, "decision made at another gateway", "network="+network)
	}
	a.upgrade(t)
	reaches("203.0.113.0/26")
	for _, fault := range []struct {
		name       string
		begin, end func()
		network    string
	}{
		{"hanging", engine.Stop, engine.Continue, "203.0.113.64/26"},
		{"down", engine.Kill, engine.Start, "203.0.113.128/26"},
	} {
		fault.begin()
		begin := time.Now()
		a.upgrade(t)
		t.Logf("engine %s: upgrade took %v", fault.name, time.Since(begin))
		a.login(t)
		fault.end()
		reaches(fault.network)
	}
	engine.Stop()
	defer engine.Continue()
	begin := time.Now()
	b.signal(t, b.mainProcess(t), syscall.SIGTERM)
	b.awaitEnd(t)
	t.Logf("engine hanging: the end took %v", time.Since(begin))
	if took := time.Since(begin); took > testbed.Patience/4 {
		t.Errorf("the end took %v", took)
	}
	if n := a.logged("counting alone"); n > 4 {
		t.Errorf("counted alone %d times", n)
	}
}
