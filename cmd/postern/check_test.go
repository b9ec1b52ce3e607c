package main

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestCheckAndMunin ask a gateway for its state, in every form.
func TestCheckAndMunin(t *testing.T) {
	g := start(t)
	g.dial(t, "imaps").Login()
	for args, tt := range map[string]struct {
		code int
		says string
	}{
		"check":                   {0, "POSTERN OK - no logins by known users over 5 min, 2 of 2 backends up"},
		"check -format checkmk":   {0, `0 "postern" served=100|`},
		"check -t 5s -w 99 -c 95": {0, "POSTERN OK"},
		"check -w 95 -c 95":       {0, "POSTERN OK"},
		"munin":                   {0, "accepted.value "},
		"munin config":            {0, "graph_title Logins at postern\n"},
		"munin autoconf":          {0, "yes\n"},
		"munin suggest":           {2, `postern munin: got "suggest", want config, autoconf or nothing`},
	} {
		if code, out := g.command(t, strings.Fields(args)...); code != tt.code || !strings.Contains(out, tt.says) || strings.Count(args, "check") == 1 && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", args, code, out)
		}
	}
	g.Environ = append(g.Environ, "MUNIN_CAP_DIRTYCONFIG=1")
	if _, out := g.command(t, "munin", "config"); !strings.Contains(out, "graph_title") || !strings.Contains(out, "accepted.value") {
		t.Errorf("dirty config: %q", out)
	}
}

// TestCheckUsage: flags that make no sense end with UNKNOWN, on one line of
// standard output and with the usage on standard error.
func TestCheckUsage(t *testing.T) {
	for args, want := range map[string]string{
		"-format xml":     `-format: got "xml", want nagios or checkmk`,
		"-w 90 -c 95":     "-w: got 90, want at least 95 as in -c: the share of served users falls below the warning first",
		"-c 99.5":         "-w: got 99, want at least 99.5 as in -c: the share of served users falls below the warning first",
		"-w 101":          "-w: got 101, want per cent from 0 to 100",
		"-c -1":           "-c: got -1, want per cent from 0 to 100",
		"-w NaN":          "-w: got NaN, want per cent from 0 to 100",
		"-t 0s":           "-t: got 0s, want a duration above zero",
		"-w many":         `invalid value "many" for flag -w: parse error`,
		"-warning 1":      "flag provided but not defined: -warning",
		"host":            `got the argument "host", want none`,
		"-format":         "flag needs an argument: -format",
		"-w 99 -c 95 -x=": "flag provided but not defined: -x",
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"check"}, strings.Fields(args)...), testbed.Environ(), &out, &errs)
		if code != 3 || out.String() != "POSTERN UNKNOWN - "+want+"\n" || !strings.HasPrefix(errs.String(), "postern check: "+want+"\nusage: postern check [flags]\n") {
			t.Errorf("%s: exit %d, %q, %q", args, code, &out, &errs)
		}
	}
}

// TestCheckWithoutAnswer: no process is critical, no answer is unknown.
func TestCheckWithoutAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for listen, tt := range map[string]struct {
		code int
		says string
	}{
		"127.0.0.1:1":          {2, "POSTERN CRITICAL - ask 127.0.0.1:1: connect: connection refused\n"},
		"unix:/nowhere/s":      {2, "POSTERN CRITICAL - "},
		silent.Addr().String(): {3, "POSTERN UNKNOWN - "},
		"off":                  {3, "POSTERN UNKNOWN - POSTERN_ADMIN_LISTEN: got off, want an address: the admin API is disabled\n"},
	} {
		var out bytes.Buffer
		environ := testbed.Environ(prefix + "ADMIN_LISTEN=" + listen)
		if code := run(t.Context(), []string{"check", "-t", "300ms"}, environ, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s: exit %d, %q", listen, code, &out)
		}
		out.Reset()
		if code := run(t.Context(), []string{"check", "-format", "checkmk", "-t", "300ms"}, environ, &out, &out); code != 0 || !strings.HasPrefix(out.String(), string(rune('0'+tt.code))+` "postern" - `) {
			t.Errorf("checkmk, %s: exit %d, %q", listen, code, &out)
		}
		if listen == silent.Addr().String() {
			continue // munin would wait for longer
		}
		out.Reset()
		if code := run(t.Context(), []string{"munin"}, environ, &out, &out); code != 0 || !strings.Contains(out.String(), "accepted.value U\n") {
			t.Errorf("munin, %s: exit %d, %q", listen, code, &out)
		}
	}
}

// TestHealth prints the answer of a gateway that is ready, and fails otherwise.
func TestHealth(t *testing.T) {
	g := start(t)
	noBackend := start(t, prefix+"POP3_BACKENDS=127.0.0.1:1")
	noBackend.log.Await(t, "backend down")
	for name, tt := range map[string]struct {
		environ []string
		code    int
		says    string
	}{
		"ready":            {testbed.Environ(prefix + "ADMIN_LISTEN=" + g.admin()), exitOK, "ready\n"},
		"address alone":    {[]string{prefix + "ADMIN_LISTEN=" + g.admin()}, exitOK, "ready\n"}, // other mistakes do not matter to a gateway that runs
		"not ready":        {testbed.Environ(prefix + "ADMIN_LISTEN=" + noBackend.admin()), exitFailure, "postern: health: not ready: no pop3 backend is up\n"},
		"no process":       {testbed.Environ(prefix + "ADMIN_LISTEN=unix:/nowhere/s"), exitFailure, "postern: health: ask unix:/nowhere/s: "},
		"no admin address": {testbed.Environ(prefix + "ADMIN_LISTEN=off"), exitFailure, "postern: health: POSTERN_ADMIN_LISTEN: got off, want an address: the admin API is disabled\n"},
		"wrong address":    {[]string{prefix + "ADMIN_LISTEN=nowhere"}, exitFailure, `postern: health: POSTERN_ADMIN_LISTEN: got "nowhere", want`},
	} {
		var out bytes.Buffer
		code := run(t.Context(), []string{"health"}, tt.environ, &out, &out)
		if code != tt.code || !strings.HasPrefix(out.String(), tt.says) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q", name, code, &out)
		}
	}
}
