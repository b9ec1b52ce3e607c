package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/testbed"
)

// listServer answers on a Unix socket with a list for firewalls, and returns settings for its clients.
func listServer(t *testing.T, s firewall.Stream) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+firewall.StreamPath, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "startup=true&simulated=true" {
			t.Errorf("got query %q", r.URL.RawQuery)
		}
		json.NewEncoder(w).Encode(s)
	})
	server := &http.Server{Handler: mux}
	t.Cleanup(func() { server.Close() })
	go server.Serve(ln)
	return testbed.Environ("POSTERN_ADMIN_LISTEN=unix:" + path)
}

// TestDecisionsForFirewalls are printed in both formats and compared, and nothing is printed on an error: it would
// go to nft.
func TestDecisionsForFirewalls(t *testing.T) {
	listed := firewall.Decision{ID: 1, Value: "192.0.2.1", Duration: "10m0s", CreatedAt: time.Now().Add(-time.Hour)}
	good := listServer(t, firewall.Stream{New: []firewall.Decision{listed}})
	listed.Value = "0.0.0.0/0"
	hostile := listServer(t, firewall.Stream{New: []firewall.Decision{listed}})
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "present")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct {
		environ []string
		args    []string
		code    int
		stdout  string
		stderr  string
	}{
		"nft":            {good, []string{"-format", "nft"}, exitOK, "flush set inet postern block4\nadd element inet postern block4 { 192.0.2.1 timeout 600s }\n", ""},
		"plain":          {good, []string{"-format", "plain"}, exitOK, "192.0.2.1\n", ""},
		"another format": {good, []string{"-format", "iptables"}, exitUsage, "", "want nft or plain"},
		"two at once":    {good, []string{"-format", "nft", "-compare", "-"}, exitUsage, "", "want one"},
		"present":        {good, []string{"-compare", file("192.0.2.1\n")}, exitOK, "the firewall has 1 of 1 listed sources\n", ""},
		"missing":        {good, []string{"-compare", file("192.0.2.2\n")}, exitFailure, "the firewall has 0 of 1 listed sources; missing: 1; not listed: 1\n", ""},
		"no file":        {good, []string{"-compare", "/nonexistent"}, exitFailure, "", "no such file"},
		"hostile nft":    {hostile, []string{"-format", "nft"}, exitFailure, "", "want an IPv4 address or an IPv6 /64"},
		"hostile plain":  {hostile, []string{"-format", "plain"}, exitFailure, "", "want an IPv4 address or an IPv6 /64"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), append([]string{"decisions"}, tt.args...), tt.environ, &stdout, &stderr)
		if code != tt.code || !strings.HasPrefix(stdout.String(), tt.stdout) || tt.stdout == "" && stdout.Len() > 0 || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: got %d, %q, %q", name, code, stdout.String(), stderr.String())
		}
	}
}
