package admin

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// TestClient asks by TCP with the token, and by a socket without.
func TestClient(t *testing.T) {
	dir := t.TempDir()
	socket := "POSTERN_ADMIN_LISTEN=unix:" + filepath.Join(t.TempDir(), "s")
	byTCP, bySocket := start(t, "POSTERN_STATE_DIR="+dir), start(t, socket)
	for name, tt := range map[string]struct {
		server  *running
		environ []string
	}{
		"TCP":    {byTCP, testbed.Environ("POSTERN_STATE_DIR="+dir, "POSTERN_ADMIN_LISTEN="+byTCP.Addr().String())},
		"socket": {bySocket, testbed.Environ(socket)},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(tt.environ)
			client, err := NewOperatorClient(c, err, testbed.Patience)
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := client.Ready(t.Context()); answer != "ready" || err != nil {
				t.Errorf("got %q, %v", answer, err)
			}
			tt.server.unready.Store("no\x1b[2J backend")
			if _, err := client.Ready(t.Context()); err == nil || err.Error() != "not ready: no [2J backend" {
				t.Errorf("got %v", err)
			}
			var events []incident.Event
			err = client.PostJSON(t.Context(), IncidentsPath, incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, By: "anna"}, &events)
			if err != nil || len(events) == 0 {
				t.Errorf("got %v, %v", events, err)
			}
			var number int
			if err := client.GetJSON(t.Context(), IncidentsPath, &number); err == nil || !strings.HasPrefix(err.Error(), "ask ") {
				t.Errorf("another type: got %v", err)
			}
		})
	}
}

// TestClientErrors names what is wrong and where.
func TestClientErrors(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, tt := range map[string]struct{ environ, want string }{
		"off":          {"POSTERN_ADMIN_LISTEN=off", "POSTERN_ADMIN_LISTEN: got off, want an address: the admin API is disabled"},
		"not parsed":   {"POSTERN_ADMIN_LISTEN=nowhere", `POSTERN_ADMIN_LISTEN: got "nowhere", want host:port`},
		"no process":   {"POSTERN_ADMIN_LISTEN=127.0.0.1:1", "ask 127.0.0.1:1: connect: connection refused"},
		"no socket":    {"POSTERN_ADMIN_LISTEN=unix:/nowhere/s", "ask unix:/nowhere/s: "},
		"no answer":    {"POSTERN_ADMIN_LISTEN=" + silent.Addr().String(), "ask " + silent.Addr().String() + ": "},
		"no token yet": {"POSTERN_STATE_DIR=/no/such/dir", "read the admin token: open /no/such/dir/admin-token: "},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(testbed.Environ(tt.environ))
			client, err := NewOperatorClient(c, err, 300*time.Millisecond)
			if err == nil {
				_, err = client.Ready(t.Context())
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
