package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy"
)

// TestBackendChangesAreLogged once each.
func TestBackendChangesAreLogged(t *testing.T) {
	out := testbed.NewLog()
	log := eventlog.New(out, "text", slog.LevelInfo)
	down := map[string]bool{}
	for i, step := range []struct {
		up   bool
		want string // of the lines written so far
	}{
		{true, ""},
		{false, "down"},
		{false, "down"},
		{true, "down up"},
		{true, "down up"},
		{false, "down up down"},
	} {
		logChange(proxy.BackendStats{Addr: "a:1", Up: step.up, ProbeError: errors.New("no\nroute")}, down, log)
		var got []string
		for line := range strings.Lines(out.String()) {
			_, f, err := testbed.ParseLine("text", strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(f["msg"], "backend "))
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
	out.Await(t, `error=no\x0aroute`, "backend=a:1")
}

// TestBackendDownNamesRemedy if the backend closed behind the PROXY header.
func TestBackendDownNamesRemedy(t *testing.T) {
	out := testbed.NewLog()
	closed := &proxy.HeaderError{Gateway: netip.MustParseAddr("192.0.2.9"), Err: io.EOF}
	logChange(proxy.BackendStats{Addr: "a:1", ProbeError: fmt.Errorf("greet: %w", closed)}, map[string]bool{}, eventlog.New(out, "text", slog.LevelInfo))
	out.Await(t, "backend=a:1", "haproxy_trusted_networks must contain 192.0.2.9", "`haproxy = yes`", "POSTERN_BACKEND_PROXY=off")
}
