package demo

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// started is a demo under test.
type started struct {
	out, log *testbed.Log
	cancel   context.CancelFunc
	ended    chan error
}

// start runs a demo with these settings until it is cancelled.
func start(t *testing.T, attack bool, environ ...string) *started {
	return startWith(t, Options{Environ: environ, Attack: attack})
}

// startWith is start with other options.
func startWith(t *testing.T, o Options) *started {
	ctx, cancel := context.WithCancel(t.Context())
	d := &started{testbed.NewLog(), testbed.NewLog(), cancel, make(chan error)}
	o.Stdout, o.Log = d.out, d.log
	go func() { d.ended <- Run(ctx, o) }()
	return d
}

// TestPrintedCommands runs the commands that the demo prints.
func TestPrintedCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		testbed.Missing(t, "curl")
	}
	d := start(t, false)
	d.out.Await(t, "Ctrl-C ends the demo")

	commands := regexp.MustCompile(`(?m)^  (curl .*)$`).FindAllStringSubmatch(d.out.String(), -1)
	want := []string{"Subject: Welcome", "NO [AUTHENTICATIONFAILED]"}
	if len(commands) != len(want) {
		t.Fatalf("%d commands in\n%s", len(commands), d.out)
	}
	for i, c := range commands {
		got, err := exec.CommandContext(t.Context(), "sh", "-c", c[1]).CombinedOutput()
		if err != nil || !strings.Contains(string(got), want[i]) {
			t.Errorf("%s: %v\n%s", c[1], err, got)
		}
	}
	d.log.Await(t, "result=accepted", "account=demo")
	d.log.Await(t, "result=denied", "account=demo")
	d.cancel()
	if err := <-d.ended; err != nil {
		t.Errorf("%v\n%s", err, d.log)
	}
}

// TestFreeAddr: a port that is in use is replaced.
func TestFreeAddr(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if got := freeAddr(busy.Addr().String()); got != "127.0.0.1:0" {
		t.Errorf("in use: got %s", got)
	}
	addr := busy.Addr().String()
	busy.Close()
	if got := freeAddr(addr); got != addr {
		t.Errorf("free: got %s", got)
	}
}

// TestSettingsCount: those of the environment about limits and the log have
// effect, those about addresses have not.
func TestSettingsCount(t *testing.T) {
	d := start(t, false, "POSTERN_LOG_LEVEL=error", "POSTERN_IMAPS_LISTEN=192.0.2.1:993", "POSTERN_ADMIN_LISTEN=off")
	d.out.Await(t, "Ctrl-C ends the demo")
	d.cancel()
	if err := <-d.ended; err != nil || d.log.String() != "" || strings.Contains(d.out.String(), "192.0.2.1") {
		t.Errorf("%v\n%s\n%s", err, d.out, d.log)
	}
}

// TestWrongSetting ends the demo before it prints anything.
func TestWrongSetting(t *testing.T) {
	d := start(t, false, "POSTERN_TRIES=0")
	if err := <-d.ended; err == nil || !strings.HasPrefix(err.Error(), "POSTERN_TRIES: ") || d.out.String() != "" {
		t.Errorf("%v\n%s", err, d.out)
	}
}
