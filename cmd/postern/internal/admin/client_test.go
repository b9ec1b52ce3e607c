package admin

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
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
			timeout := testbed.Patience
			if name == "no answer" {
				timeout = 300 * time.Millisecond
			}
			client, err := NewOperatorClient(c, err, timeout)
			if err == nil {
				_, err = client.Ready(t.Context())
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestClientRefusals are problems with one clear line, or errors that say that force is
// needed.
func TestClientRefusals(t *testing.T) {
	socket := "POSTERN_ADMIN_LISTEN=unix:" + filepath.Join(t.TempDir(), "s")
	start(t, socket)
	c, err := config.Load(testbed.Environ(socket))
	client, err := NewOperatorClient(c, err, testbed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	var force decisions.NeedsForceError
	var done decisions.Result
	err = client.PostJSON(t.Context(), decisions.Path, decisions.Request{Kind: decisions.Block, Network: "127.0.0.1"}, &done)
	if want := (decisions.NeedsForceError{Reason: "this is your own address", Users: 3}); !errors.As(err, &force) || force != want {
		t.Errorf("got %#v, want %#v", err, want)
	}
	if err := client.PostJSON(t.Context(), decisions.Path, decisions.Request{Kind: decisions.Block, Network: "127.0.0.1", Force: true}, &done); err != nil || done.Decision.ID != "a1" {
		t.Errorf("with force: got %+v, %v", done, err)
	}
	var ended decisions.Decision
	if err := client.Delete(t.Context(), decisions.Path+"/a1?by=anna", &ended); err != nil || ended.ID != "a1" {
		t.Errorf("delete: got %+v, %v", ended, err)
	}
	var p *Problem
	if err := client.Delete(t.Context(), decisions.Path+"/none", &ended); !errors.As(err, &p) || p.Status != http.StatusNotFound || err.Error() != "there is no such decision in force" {
		t.Errorf("delete of none: got %#v", err)
	}
}

// TestReadProblem of this and of other servers: one line of bounded length.
func TestReadProblem(t *testing.T) {
	for name, tt := range map[string]struct{ mediaType, body, want string }{
		"problem":   {"application/problem+json", `{"title":"Conflict","detail":"not\u001b[2J over\nyet"}`, "not [2J over yet"},
		"parameter": {"application/problem+json; charset=utf-8", `{"detail":"x"}`, "x"},
		"malformed": {"application/problem+json", `{`, "got a problem that cannot be read: unexpected end of JSON input"},
		"text":      {"text/plain", "not ready: a\x00b\n", "not ready: a b"},
		"nothing":   {"", "", "409 Conflict"},
		"long":      {"", strings.Repeat("é", 10_000), strings.Repeat("é", eventlog.ErrorMax/2)},
	} {
		err := readProblem(http.StatusConflict, tt.mediaType, []byte(tt.body))
		var p *Problem
		if err.Error() != tt.want || !errors.As(err, &p) || p.Status != http.StatusConflict {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// TestClientToken is that of operators, or the read-only one where there is no other
// that the user may read.
func TestClientToken(t *testing.T) {
	operator, reader := testbed.WriteFile(t, operatorToken), testbed.WriteFile(t, readerToken)
	for name, tt := range map[string]struct {
		environ    []string
		want, fail string
	}{
		"none":               {nil, "", ""},
		"operator":           {[]string{"POSTERN_ADMIN_TOKEN_FILE=" + operator}, operatorToken, ""},
		"both":               {[]string{"POSTERN_ADMIN_TOKEN_FILE=" + operator, "POSTERN_ADMIN_READ_TOKEN_FILE=" + reader}, operatorToken, ""},
		"only reader":        {[]string{"POSTERN_ADMIN_READ_TOKEN_FILE=" + reader}, readerToken, ""},
		"no operator's":      {[]string{"POSTERN_STATE_DIR=/no/such/dir", "POSTERN_ADMIN_READ_TOKEN_FILE=" + reader}, readerToken, ""},
		"neither":            {[]string{"POSTERN_STATE_DIR=/no/such/dir", "POSTERN_ADMIN_READ_TOKEN_FILE=/no/such/file"}, "", "open /no/such/file"},
		"malformed operator": {[]string{"POSTERN_ADMIN_TOKEN_FILE=" + testbed.WriteFile(t, "x"), "POSTERN_ADMIN_READ_TOKEN_FILE=" + reader}, "", "got 1 octets"},
		"socket":             {[]string{"POSTERN_ADMIN_LISTEN=unix:/s", "POSTERN_ADMIN_TOKEN_FILE=" + operator, "POSTERN_ADMIN_READ_TOKEN_FILE=" + reader}, "", ""},
	} {
		c, err := config.Load(testbed.Environ(tt.environ...))
		if err != nil {
			t.Fatal(err)
		}
		got, err := clientToken(&c)
		if got != tt.want || (err != nil) != (tt.fail != "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: got %q, %v, want %q, %q", name, got, err, tt.want, tt.fail)
		}
	}
}

// TestReadToken must differ from that of operators, and be as long.
func TestReadToken(t *testing.T) {
	operator := testbed.WriteFile(t, operatorToken)
	for path, want := range map[string]string{
		operator: "got the token in POSTERN_ADMIN_TOKEN_FILE, want another one", testbed.WriteFile(t, "short"): "got 5 octets in ", "/no/such/file": "no such file",
	} {
		c, err := config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN=127.0.0.1:0", "POSTERN_ADMIN_TOKEN_FILE="+operator, "POSTERN_ADMIN_READ_TOKEN_FILE="+path))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(&c, Gateway{}); err == nil || !strings.HasPrefix(err.Error(), "POSTERN_ADMIN_READ_TOKEN_FILE: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}
