package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIncidentCommands follows an incident from its begin to its end.
func TestIncidentCommands(t *testing.T) {
	g := start(t, prefix+"STATE_DIR="+t.TempDir())
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"incident", exitOK, "no incidents\n"},
		{"incident list -json", exitOK, "[]\n"},
		{"incident show", exitFailure, "postern: incident: there is no such incident"},
		{"incident ack", exitFailure, "postern: incident: ack: "},
		{"incident dance", exitUsage, `postern incident: got "dance", want list, show or one of `},
		{"incident open disaster", exitUsage, `postern incident: open: got "disaster", want one of `},
		{"incident reclassify", exitUsage, "postern incident: reclassify: got nothing, want one of "},
		{"incident note", exitUsage, "postern incident: note: got nothing, want a text"},
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
		{"incident resolve all well", exitOK, "resolved"},
		{"incident resolve", exitFailure, "postern: incident: resolve: "},
	} {
		code, out := g.command(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out, tt.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit %d, %q", tt.args, code, out)
		}
	}
	g.log.Await(t, "event=admin", "by=anna", "action=note")
	g.log.Await(t, "event=admin", "action=resolve", `error="resolve:`)
	g.log.Await(t, "level=WARN", "event=incident", "phase=detected")
}

// startWithEvents runs a gateway that has an open incident of a former run.
func startWithEvents(t *testing.T, phase, class string) *gateway {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "watch"), 0o700); err != nil {
		t.Fatal(err)
	}
	event := `{"time":"` + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + `","incident":"i1","kind":"open","to":"` + phase +
		`","class":"` + class + `","by":"postern"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "watch", "incidents.jsonl"), []byte(event), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, prefix+"STATE_DIR="+dir)
}

// TestResolveNeedsForce while postern cannot tell that an attack is over.
func TestResolveNeedsForce(t *testing.T) {
	g := startWithEvents(t, "detected", "attack")
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"incident resolve", exitFailure, "postern: incident: resolve i1: not over yet: postern has restarted, and takes 5 min to tell whether it is over; -force does it all the same\n"},
		{"incident note -force x", exitUsage, "postern incident: note: got -force, which is for resolve only"},
		{"check", 1, "incident i1: attack since "},
		{"incident resolve -force we know", exitOK, "resolved  still on: attack"},
		{"incident show", exitOK, "a person ended it, but not over yet: attack\n"},
		{"report", exitOK, "but was not over yet at"},
	} {
		code, out := g.command(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: exit %d, %q", tt.args, code, out)
		}
	}
}

// TestOpenTakesOverSuspected: what a person reports is detected, from now on, and
// check shows it.
func TestOpenTakesOverSuspected(t *testing.T) {
	g := startWithEvents(t, "suspected", "backend_fault")
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"check", 0, "POSTERN OK"},
		{"incident open storm users call", exitOK, "storm  detected  users call  since "},
		{"incident open storm again", exitFailure, "another incident is open"},
		{"check", 1, "incident i1: storm since "},
		{"incident resolve", exitOK, "resolved"},
	} {
		code, out := g.command(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: exit %d, %q", tt.args, code, out)
		}
	}
}

// TestConfirm: only yes is yes.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "\n": false, "no\n": false, "": false, "yeah\n": false} {
		var out strings.Builder
		if confirm(strings.NewReader(answer), &out, "sure? ") != want || out.String() != "sure? " {
			t.Errorf("%q: want %v, printed %q", answer, want, out.String())
		}
	}
}

// TestIncidentWithoutToken shows what to set.
func TestIncidentWithoutToken(t *testing.T) {
	g := start(t)
	if code, out := g.command(t, "incident"); code != exitFailure || !strings.Contains(out, "there is no admin token: set POSTERN_STATE_DIR") {
		t.Errorf("exit %d, %q", code, out)
	}
}

// TestIncidentBySocket needs no token.
func TestIncidentBySocket(t *testing.T) {
	g := start(t, prefix+"ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"))
	if code, out := g.command(t, "incident"); code != exitOK || out != "no incidents\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

// TestStatusPageFollows: what an operator publishes is on the status page within
// ten seconds.
func TestStatusPageFollows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "status")
	g := start(t, prefix+"STATE_DIR="+t.TempDir(), prefix+"STATUS_DIR="+dir, prefix+"STATUS_NAME=Example Mail")
	for _, args := range []string{"incident open attack", "incident publish We are looking."} {
		if code, out := g.command(t, strings.Fields(args)...); code != exitOK {
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
