package main

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestDemoCommands runs what the demo prints, as a newcomer would.
func TestDemoCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		absent(t, "curl")
	}
	out, log := newLogbook(), newLogbook()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- run(ctx, []string{"demo"}, nil, out, log) }()
	out.await(t, "Ctrl-C ends the demo")

	commands := regexp.MustCompile(`(?m)^  (curl .*)$`).FindAllStringSubmatch(out.String(), -1)
	want := []string{"Subject: Welcome", "NO [AUTHENTICATIONFAILED]"}
	if len(commands) != len(want) {
		t.Fatalf("%d commands in\n%s", len(commands), out)
	}
	for i, c := range commands {
		got, err := exec.CommandContext(t.Context(), "sh", "-c", c[1]).CombinedOutput()
		if err != nil || !strings.Contains(string(got), want[i]) {
			t.Errorf("%s: %v\n%s", c[1], err, got)
		}
	}
	log.await(t, "result=accepted", "account=demo")
	log.await(t, "result=denied", "account=demo")
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit %d\n%s", got, log)
	}
}

// TestDemoFindsFreePorts: a second demo, or another program, is no obstacle.
func TestDemoFindsFreePorts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if got := freeAddr(busy.Addr().String()); got != "127.0.0.1:0" {
		t.Errorf("a busy port: got %s", got)
	}
	addr := busy.Addr().String()
	busy.Close()
	if got := freeAddr(addr); got != addr {
		t.Errorf("a free port: got %s", got)
	}
}

// TestDemoTakesLimits: what the environment says about limits holds, what it
// says about doors does not.
func TestDemoTakesLimits(t *testing.T) {
	out, log := newLogbook(), newLogbook()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	environ := []string{"POSTERN_LOG_LEVEL=error", "POSTERN_IMAPS_LISTEN=192.0.2.1:993", "POSTERN_ADMIN_LISTEN=off"}
	go func() { code <- run(ctx, []string{"demo"}, environ, out, log) }()
	out.await(t, "Ctrl-C ends the demo")
	cancel()
	if got := <-code; got != exitOK || log.String() != "" || strings.Contains(out.String(), "192.0.2.1") {
		t.Errorf("exit %d\n%s\n%s", got, out, log)
	}
}

// TestDemoComplains of a setting that is wrong, before anything is printed.
func TestDemoComplains(t *testing.T) {
	out, errs := newLogbook(), newLogbook()
	if code := run(t.Context(), []string{"demo"}, []string{"POSTERN_TRIES=0"}, out, errs); code != exitFailure {
		t.Errorf("exit %d", code)
	}
	if !strings.HasPrefix(errs.String(), "postern: POSTERN_TRIES: ") || out.String() != "" {
		t.Errorf("got %q, %q", out, errs)
	}
}
