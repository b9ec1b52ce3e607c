package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ask sends a request to the house's admin address number n and returns status
// and body.
func (h *testHouse) ask(t *testing.T, n int, method, path, host string) (int, string) {
	t.Helper()
	ln := h.admin[n].listener.Addr()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, ln.Network(), ln.String())
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdmin(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	h := newHouse(t, "POSTERN_METRICS_LISTEN=unix:"+socket)
	for name, tt := range map[string]struct {
		n                  int
		method, path, host string
		code               int
		body               string
	}{
		"alive":                     {0, "GET", "/livez", "localhost", 200, "alive\n"},
		"ready":                     {0, "GET", "/readyz", "127.0.0.1:9143", 200, "ready\n"},
		"by IPv6":                   {0, "GET", "/readyz", "[::1]:9143", 200, "ready\n"},
		"by IPv6 without port":      {0, "GET", "/readyz", "[::1]", 200, "ready\n"},
		"in capitals":               {0, "GET", "/readyz", "LOCALHOST", 200, "ready\n"},
		"head":                      {0, "HEAD", "/readyz", "localhost", 200, ""},
		"metrics":                   {0, "GET", "/metrics", "localhost", 200, "postern_connections_max 10000"},
		"post":                      {0, "POST", "/readyz", "localhost", 405, ""},
		"delete":                    {0, "DELETE", "/metrics", "localhost", 405, ""},
		"elsewhere":                 {0, "GET", "/", "localhost", 404, ""},
		"a rebound name":            {0, "GET", "/metrics", "evil.example", 403, "localhost only"},
		"a name that looks local":   {0, "GET", "/metrics", "127.0.0.1.evil.example", 403, "localhost only"},
		"metrics by socket":         {1, "GET", "/metrics", "anything", 200, "postern_connections_max"},
		"the socket has no more":    {1, "GET", "/readyz", "anything", 404, ""},
		"nor does it take messages": {1, "POST", "/metrics", "anything", 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := h.ask(t, tt.n, tt.method, tt.path, tt.host)
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("got %d %q, want %d %q", code, body, tt.code, tt.body)
			}
		})
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info, err)
	}
}

// TestReadiness follows a gate from its opening to its end. A busy limiter is
// no part of it.
func TestReadiness(t *testing.T) {
	h := newHouse(t)
	for _, tt := range []struct {
		state uint32
		code  int
		body  string
	}{
		{opening, 503, "not ready: the doors are not open yet\n"},
		{serving, 200, "ready\n"},
		{draining, 503, "not ready: shutting down\n"},
	} {
		h.state.Store(tt.state)
		if code, body := h.ask(t, 0, "GET", "/readyz", "localhost"); code != tt.code || body != tt.body {
			t.Errorf("state %d: got %d %q", tt.state, code, body)
		}
	}
}

// TestReadinessWithoutBackend: a gate with nothing behind it wants no new
// clients, and says so.
func TestReadinessWithoutBackend(t *testing.T) {
	h := newHouse(t, "POSTERN_POP3_BACKENDS=127.0.0.1:1")
	h.log.await(t, "backend down", "127.0.0.1:1", "connection refused")
	if code, body := h.ask(t, 0, "GET", "/readyz", "localhost"); code != 503 || body != "not ready: no pop3 backend is up\n" {
		t.Errorf("got %d %q", code, body)
	}
}

// TestAdminSocketIsReplacedOnlyWhenStale: a crash leaves a socket file behind,
// which must not keep the next start from working; the socket of a living
// process must stay.
func TestAdminSocketIsReplacedOnlyWhenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenHTTP(httpAddr("unix:" + path)); err == nil || !strings.Contains(err.Error(), "another process does") {
		t.Errorf("beside a living one: %v", err)
	}
	crashed.SetUnlinkOnClose(false)
	crashed.Close()
	ln, err := listenHTTP(httpAddr("unix:" + path))
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	ln.Close()

	if err := os.WriteFile(path, []byte("letters"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenHTTP(httpAddr("unix:" + path)); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}
