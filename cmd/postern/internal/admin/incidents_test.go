package admin

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
)

// TestOperatorsNeedTheToken: what names people, and what changes anything, needs
// the token; web pages of other origins are refused even with it.
func TestOperatorsNeedTheToken(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "POSTERN_STATE_DIR="+dir)
	text, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "admin-token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	token := "Bearer " + strings.TrimSpace(string(text))
	for name, tt := range map[string]struct {
		method, path, token, origin, host, body string
		code                                    int
	}{
		"without":                   {"GET", IncidentsPath, "", "", "", "", 401},
		"wrong token":               {"GET", IncidentsPath, token + "x", "", "", "", 401},
		"another scheme":            {"GET", IncidentsPath, "Basic " + token, "", "", "", 401},
		"with":                      {"GET", IncidentsPath, token, "", "", "", 200},
		"one without":               {"GET", IncidentsPath + "/latest", "", "", "", "", 401},
		"one that does not exist":   {"GET", IncidentsPath + "/latest", token, "", "", "", 404},
		"report without":            {"GET", ReportPath, "", "", "", "", 401},
		"report on nothing":         {"GET", ReportPath, token, "", "", "", 404},
		"write without":             {"POST", IncidentsPath, "", "", "", `{"action":"open","class":"attack"}`, 401},
		"write from another origin": {"POST", IncidentsPath, token, "https://evil.example", "", `{"action":"open","class":"attack"}`, 403},
		"rebound name":              {"POST", IncidentsPath, token, "", "evil.example", `{"action":"open","class":"attack"}`, 403},
		"another method":            {"PUT", IncidentsPath, token, "", "", "", 405},
		"unknown field":             {"POST", IncidentsPath, token, "", "", `{"action":"open","colour":"red"}`, 400},
		"too long":                  {"POST", IncidentsPath, token, "", "", `{"text":"` + strings.Repeat("x", bodyMax) + `"}`, 413},
		"impossible":                {"POST", IncidentsPath, token, "", "", `{"action":"ack"}`, 409},
		"state":                     {"GET", monitor.Path, "", "", "", "", 200},
	} {
		q := request{method: tt.method, path: tt.path, host: tt.host, header: map[string]string{}, body: tt.body}
		for header, value := range map[string]string{"Authorization": tt.token, "Origin": tt.origin} {
			if value != "" {
				q.header[header] = value
			}
		}
		code, body := s.ask(t, q)
		if code != tt.code || strings.Contains(body, strings.TrimPrefix(token, "Bearer ")) {
			t.Errorf("%s: got %d %s", name, code, body)
		}
	}
}

// TestTokens: without one nothing is allowed; one that is too short or cannot be
// read prevents the start; a socket needs none.
func TestTokens(t *testing.T) {
	if code, body := start(t).ask(t, request{method: "GET", path: IncidentsPath}); code != 403 || !strings.Contains(body, "there is no admin token: set POSTERN_STATE_DIR") {
		t.Errorf("without: got %d %q", code, body)
	}
	short := testbed.WriteFile(t, "sesame\n")
	spaced := testbed.WriteFile(t, "a token with spaces in it\n")
	for path, want := range map[string]string{
		short: "got 6 octets in " + short + ", want at least 16", spaced: "got white space within the token in ", short + "x": "no such file",
	} {
		c, err := config.Load(testbed.Environ("POSTERN_ADMIN_TOKEN_FILE=" + path))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(&c, Gateway{}); err == nil || !strings.HasPrefix(err.Error(), "POSTERN_ADMIN_TOKEN_FILE: read the admin token: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	s := start(t, "POSTERN_ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"))
	if code, body := s.ask(t, request{method: "GET", path: IncidentsPath}); code != 200 || body != "[]\n" {
		t.Errorf("by socket: got %d %q", code, body)
	}
}

// TestCommandsAreLogged with the operator's name, escaped.
func TestCommandsAreLogged(t *testing.T) {
	s := start(t, "POSTERN_ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"))
	code, body := s.ask(t, request{method: "POST", path: IncidentsPath, body: `{"action":"open","class":"attack","by":"anna=\u001b[2J"}`})
	if code != 200 || !strings.Contains(body, `"by":"anna= [2J"`) {
		t.Errorf("got %d %q", code, body)
	}
	s.log.Await(t, "event=admin", `by="anna\\x3d [2J"`, "action=open")
	for _, path := range []string{IncidentsPath, IncidentsPath + "/latest", ReportPath + "?format=json", ReportPath + "?public=true"} {
		if code, body := s.ask(t, request{method: "GET", path: path}); code != 200 || body == "" {
			t.Errorf("%s: got %d %q", path, code, body)
		}
	}
}

// TestAutonomousSystems reads testdata/asn.mmdb, which maxmind/mmdbwriter made
// for two of the networks that are for documentation, one with an escape
// character in its name. Without a readable file the lookup is nil.
func TestAutonomousSystems(t *testing.T) {
	s := start(t)
	if lookup := s.autonomousSystems(); lookup != nil {
		t.Error("a lookup without a file")
	}
	s.asnFile = "testdata/asn.mmdb"
	lookup := s.autonomousSystems()
	for addr, want := range map[string]string{
		"198.51.100.7": "64496 Example Carrier ", "2001:db8:1::1": "64497 Beispiel Hosting Österreich", "192.0.2.1": "0 ",
	} {
		number, name := lookup(netip.MustParseAddr(addr))
		if got := fmt.Sprint(number, " ", name); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	s.asnFile = "incidents_test.go"
	if lookup := s.autonomousSystems(); lookup != nil {
		t.Error("a lookup in a Go file")
	}
	s.log.Await(t, "event=admin", "cannot open ASN_FILE")
}
