package main

import (
	"strings"
	"testing"

	"postern/proxy"
)

func TestTellOfBackend(t *testing.T) {
	log := newLogbook()
	g := &gate{journal: newJournal(log, LogSettings{Format: "text"})}
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
		g.tellOfBackend(proxy.BackendStats{Addr: "a:1", Up: step.up, ProbeError: "no\nroute"}, down)
		var got []string
		for line := range strings.Lines(log.String()) {
			_, f, err := parseLine("text", strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(f["msg"], "backend "))
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
	log.await(t, `error=no\x0aroute`, "backend=a:1")
}
