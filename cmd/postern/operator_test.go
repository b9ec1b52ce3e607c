package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
)

// operate runs a command of an operator against the house and returns its exit
// code and all it prints.
func (h *testHouse) operate(t *testing.T, args ...string) (int, string) {
	t.Helper()
	addr := h.admin[0].listener.Addr()
	listen := addr.String()
	if addr.Network() == "unix" {
		listen = "unix:" + listen
	}
	var out bytes.Buffer
	environ := append(h.environ, prefix+"ADMIN_LISTEN="+listen, "USER=anna")
	code := run(t.Context(), args, environ, &out, &out)
	return code, out.String()
}

// TestIncidentCommands takes an incident from its beginning to its end.
func TestIncidentCommands(t *testing.T) {
	h := newHouse(t, "POSTERN_STATE_DIR="+t.TempDir())
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"incident", exitOK, "no incidents\n"},
		{"incident list -json", exitOK, "[]\n"},
		{"incident show", exitFailure, "postern: incident: there is no such incident"},
		{"incident ack", exitFailure, "postern: incident: ack: "},
		{"incident dance", exitFailure, `postern: incident: "dance": takes list, show or one of `},
		{"incident open disaster", exitFailure, "postern: incident: open: takes one of "},
		{"incident note", exitFailure, "postern: incident: note: takes a text"},
		{"incident open attack users call", exitOK, "(anna)\n"},
		{"incident", exitOK, "ID"},
		{"incident hold", exitOK, "hold"},
		{"incident ack", exitOK, "ack"},
		{"incident note Hotline sagt: Störung \x1b[2J", exitOK, "Hotline sagt: Störung  [2J"},
		{"incident reclassify auth_fault", exitOK, "auth_fault"},
		{"incident publish", exitOK, "publish"},
		{"incident show", exitOK, "auth_fault"},
		{"incident show -json", exitOK, `"acked_by": "anna"`},
		{"report", exitOK, "# "},
		{"report -public -json", exitOK, `"public":true`},
		{"report nowhere", exitFailure, `postern: report: there is no incident "nowhere"` + "\n"},
		{"report a b", exitFailure, "postern: report: takes one incident"},
		{"incident resolve all well", exitOK, "resolved"},
		{"incident resolve", exitFailure, "postern: incident: resolve: "},
	} {
		code, out := h.operate(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out, tt.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit %d, %q", tt.args, code, out)
		}
	}
	h.log.await(t, "event=admin", "by=anna", "action=note")
	h.log.await(t, "event=admin", "action=resolve", `error="resolve:`)
	h.log.await(t, "level=WARN", "event=incident", "phase=detected")
}

// TestOperatorsNeedTheToken: what names people is shown, and what changes
// something is done, for the token alone; pages from elsewhere get neither.
func TestOperatorsNeedTheToken(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, "POSTERN_STATE_DIR="+dir)
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
		"without":               {"GET", incidentsPath, "", "", "", "", 401},
		"another":               {"GET", incidentsPath, token + "x", "", "", "", 401},
		"not a bearer's":        {"GET", incidentsPath, "Basic " + token, "", "", "", 401},
		"with":                  {"GET", incidentsPath, token, "", "", "", 200},
		"one without":           {"GET", incidentsPath + "/latest", "", "", "", "", 401},
		"one that is not there": {"GET", incidentsPath + "/latest", token, "", "", "", 404},
		"report without":        {"GET", reportPath, "", "", "", "", 401},
		"no report":             {"GET", reportPath, token, "", "", "", 404},
		"write without":         {"POST", incidentsPath, "", "", "", `{"action":"open","class":"attack"}`, 401},
		"write from elsewhere":  {"POST", incidentsPath, token, "https://evil.example", "", `{"action":"open","class":"attack"}`, 403},
		"by a rebound name":     {"POST", incidentsPath, token, "", "evil.example", `{"action":"open","class":"attack"}`, 403},
		"by GET":                {"PUT", incidentsPath, token, "", "", "", 405},
		"nonsense":              {"POST", incidentsPath, token, "", "", `{"action":"open","colour":"red"}`, 400},
		"too long":              {"POST", incidentsPath, token, "", "", `{"text":"` + strings.Repeat("x", commandMax) + `"}`, 400},
		"impossible":            {"POST", incidentsPath, token, "", "", `{"action":"ack"}`, 409},
		"state is for all":      {"GET", monitor.Path, "", "", "", "", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+h.admin[0].listener.Addr().String()+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		for header, value := range map[string]string{"Authorization": tt.token, "Origin": tt.origin} {
			if value != "" {
				req.Header.Set(header, value)
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.code || strings.Contains(string(body), strings.TrimPrefix(token, "Bearer ")) {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
		}
	}
}

// TestTokens: where there is none nothing is done; one that is too short, or
// that cannot be read, stops the start; a socket needs none.
func TestTokens(t *testing.T) {
	h := newHouse(t)
	if code, out := h.operate(t, "incident"); code != exitFailure || !strings.Contains(out, "there is no admin token: set POSTERN_STATE_DIR") {
		t.Errorf("without: exit %d, %q", code, out)
	}
	short := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(short, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{short: "must hold one word of at least 16 octets", short + "x": "no such file"} {
		g := &gate{config: Config{Admin: AdminSettings{TokenFile: file(path)}}}
		if err := g.makeToken(); err == nil || !strings.HasPrefix(err.Error(), "POSTERN_ADMIN_TOKEN_FILE: read the admin token: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	s := newHouse(t, "POSTERN_ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"))
	if code, out := s.operate(t, "incident"); code != exitOK || out != "no incidents\n" {
		t.Errorf("by socket: exit %d, %q", code, out)
	}
}

// TestAutonomousSystems reads testdata/asn.mmdb, which maxmind/mmdbwriter made
// for two of the networks that are for documentation, one with an escape
// character in its name. A file that is none costs the report its column only.
func TestAutonomousSystems(t *testing.T) {
	h := newHouse(t)
	if lookup, _ := h.autonomousSystems(); lookup != nil {
		t.Error("systems out of nowhere")
	}
	h.config.Watch.ASNFile = "testdata/asn.mmdb"
	lookup, closeFile := h.autonomousSystems()
	for addr, want := range map[string]string{
		"198.51.100.7": "64496 Example Carrier ", "2001:db8:1::1": "64497 Beispiel Hosting Österreich", "192.0.2.1": "0 ",
	} {
		number, name := lookup(netip.MustParseAddr(addr))
		if got := fmt.Sprint(number, " ", name); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	closeFile()
	h.config.Watch.ASNFile = "operator_test.go"
	if lookup, _ := h.autonomousSystems(); lookup != nil {
		t.Error("systems out of a Go file")
	}
	h.log.await(t, "event=admin", "report without autonomous systems")
}

// TestStatusPageFollows: what an operator publishes is on the public's page
// within ten seconds.
func TestStatusPageFollows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "status")
	h := newHouse(t, "POSTERN_STATE_DIR="+t.TempDir(), "POSTERN_STATUS_DIR="+dir, "POSTERN_STATUS_NAME=Example Mail")
	for _, args := range []string{"incident open attack", "incident publish We are looking."} {
		if code, out := h.operate(t, strings.Fields(args)...); code != exitOK {
			t.Fatalf("%s: %s", args, out)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		page, err := os.ReadFile(filepath.Join(dir, "index.html"))
		feed, feedErr := os.ReadFile(filepath.Join(dir, "feed.atom"))
		if err == nil && feedErr == nil && strings.Contains(string(page), "We are looking. Next update by") && strings.Contains(string(feed), "We are looking.") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, %v:\n%s", err, feedErr, page)
		}
	}
}
