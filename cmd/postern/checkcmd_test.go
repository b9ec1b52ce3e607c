package main

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// TestCheckCommand asks a gate how it does, in every form, and what a gate that
// is not there is taken for.
func TestCheckCommand(t *testing.T) {
	h := newHouse(t)
	h.dial(t, "imaps").login()
	for args, tt := range map[string]struct {
		code int
		says string
	}{
		"check":                   {0, "POSTERN OK - no logins by known users, 2 of 2 backends up"},
		"check -format checkmk":   {0, `0 "postern" served=100|`},
		"check -format xml":       {3, "POSTERN UNKNOWN - -format takes nagios or checkmk"},
		"munin":                   {0, "accepted.value "},
		"munin config":            {0, "graph_title Logins at postern\n"},
		"munin autoconf":          {0, "yes\n"},
		"munin suggest":           {1, `munin: "suggest" is neither config nor autoconf`},
		"check -t 5s -w 99 -c 95": {0, "POSTERN OK"},
	} {
		if code, out := h.operate(t, strings.Fields(args)...); code != tt.code || !strings.Contains(out, tt.says) || strings.Count(args, "check") == 1 && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", args, code, out)
		}
	}
	h.environ = append(h.environ, "MUNIN_CAP_DIRTYCONFIG=1")
	if _, out := h.operate(t, "munin", "config"); !strings.Contains(out, "graph_title") || !strings.Contains(out, "accepted.value") {
		t.Errorf("dirty config: %q", out)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for listen, tt := range map[string]struct {
		code int
		says string
	}{
		"127.0.0.1:1":        {2, "POSTERN CRITICAL - ask 127.0.0.1:1: connect: connection refused\n"},
		"unix:/nowhere/s":    {2, "POSTERN CRITICAL - "},
		mute.Addr().String(): {3, "POSTERN UNKNOWN - "},
		"off":                {3, "POSTERN UNKNOWN - POSTERN_ADMIN_LISTEN: off"},
	} {
		var out bytes.Buffer
		environ := append(sane(), prefix+"ADMIN_LISTEN="+listen)
		if code := run(t.Context(), []string{"check", "-t", "300ms"}, environ, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s: exit %d, %q", listen, code, &out)
		}
		out.Reset()
		if code := run(t.Context(), []string{"check", "-format", "checkmk", "-t", "300ms"}, environ, &out, &out); code != 0 || !strings.HasPrefix(out.String(), string(rune('0'+tt.code))+` "postern" - `) {
			t.Errorf("checkmk, %s: exit %d, %q", listen, code, &out)
		}
		if listen == mute.Addr().String() {
			continue
		}
		out.Reset()
		if code := run(t.Context(), []string{"munin"}, environ, &out, &out); code != 0 || !strings.Contains(out.String(), "accepted.value U\n") {
			t.Errorf("munin, %s: exit %d, %q", listen, code, &out)
		}
	}
}

// TestMuninLink: the name of the link says who asks.
func TestMuninLink(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"/etc/munin/plugins/postern_ config", "munin config"},
		{"postern_imap", "munin"},
		{"/usr/local/bin/postern serve", "serve"},
		{"postern", ""},
	} {
		if got := strings.Join(arguments(strings.Fields(tt.args)), " "); got != tt.want {
			t.Errorf("%s: got %q", tt.args, got)
		}
	}
}

// TestState is JSON that names nobody.
func TestState(t *testing.T) {
	h := newHouse(t)
	c := h.dial(t, "imaps")
	c.login()
	_, body := h.ask(t, 0, "GET", monitor.Path, "localhost")
	var s monitor.State
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	left := s.MaxConnections == 9999 || s.MaxConnections == 10000 // who has just logged in takes one more, now or in a moment
	if s.Backends != (monitor.Backends{Up: 2, All: 2}) || !left || s.Connections < 1 || s.Verdict == "" || s.Incident != nil {
		t.Errorf("got %+v", s)
	}
	if _, err := h.lookout.Do(time.Now(), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, By: "anna"}); err != nil {
		t.Fatal(err)
	}
	if s = h.monitorState(time.Now()); s.Incident == nil || s.Incident.Class != "attack" || s.Incident.Acknowledged {
		t.Errorf("got %+v", s.Incident)
	}
	if strings.Contains(body, demoAccount.Name) || strings.Contains(body, "127.0.0.1") {
		t.Errorf("names somebody: %s", body)
	}
}
