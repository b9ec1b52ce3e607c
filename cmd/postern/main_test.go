package main

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestRun tries every way to call postern that returns by itself.
func TestRun(t *testing.T) {
	thisVersion := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for name, tt := range map[string]struct {
		args           []string
		environ        []string
		code           int
		stdout, stderr string // must be contained; empty means that nothing is written
	}{
		"help":                       {[]string{"help"}, nil, exitOK, "usage: postern [command] [flags]", ""},
		"-h":                         {[]string{"-h"}, nil, exitOK, "commands:\n  serve ", ""},
		"--help":                     {[]string{"--help"}, nil, exitOK, "print settings", ""},
		"a command's -h":             {[]string{"config", "-h"}, nil, exitOK, "usage: postern config [NAME...] [flags]\n\nprint settings", ""},
		"a command's --help":         {[]string{"check", "--help"}, nil, exitOK, "usage: postern check [flags]\n\ncheck the running postern", ""},
		"version":                    {[]string{"version"}, nil, exitOK, thisVersion, ""},
		"-V":                         {[]string{"-V"}, nil, exitOK, thisVersion, ""},
		"-version":                   {[]string{"-version"}, nil, exitOK, thisVersion, ""},
		"--version":                  {[]string{"--version"}, nil, exitOK, thisVersion, ""},
		"unknown command":            {[]string{"sevre"}, nil, exitUsage, "", "postern: unknown command \"sevre\"\nusage: postern [command] [flags]\nRun `postern -h`"},
		"empty command":              {[]string{""}, nil, exitUsage, "", `postern: unknown command ""`},
		"command in escapes":         {[]string{"\x1b[2J"}, nil, exitUsage, "", `postern: unknown command "\x1b[2J"`},
		"unknown flag":               {[]string{"-port", "143"}, nil, exitUsage, "", "postern serve: flag provided but not defined: -port\nusage: postern serve [flags]\nRun `postern serve -h` for help.\n"},
		"flag of another command":    {[]string{"health", "-markdown"}, nil, exitUsage, "", "postern health: flag provided but not defined: -markdown\nusage: postern health"},
		"argument too many":          {[]string{"serve", "now"}, nil, exitUsage, "", `postern serve: got the argument "now", want none`},
		"check with an unknown flag": {[]string{"check", "-x"}, nil, 3, "POSTERN UNKNOWN - flag provided but not defined: -x\n", "Run `postern check -h` for help."},
		"config":                     {[]string{"config"}, testbed.Environ(), exitOK, "POSTERN_TLS_CERT", ""},
		"config with a mistake":      {[]string{"config"}, testbed.Environ("POSTERN_TRIES=x"), exitFailure, "POSTERN_TRIES", `postern: POSTERN_TRIES: got "x", want a number of at least 1` + "\n"},
		"config of nothing":          {[]string{"config"}, nil, exitFailure, "POSTERN_IMAP_BACKENDS", "postern: POSTERN_IMAP_BACKENDS: got nothing"},
		"config of one setting":      {[]string{"config", "LIMIT_SOURCE"}, testbed.Environ(), exitOK, "POSTERN_LIMIT_SOURCE\n  denied logins per source\n", ""},
		"config with the prefix":     {[]string{"config", "POSTERN_DRAIN"}, testbed.Environ(), exitOK, "  value    5m\n", ""},
		"config of an unknown name":  {[]string{"config", "LIMIT_SORUCE"}, testbed.Environ(), exitUsage, "", "postern config: POSTERN_LIMIT_SORUCE: unknown setting; did you mean POSTERN_LIMIT_SOURCE?\nusage: "},
		"config as JSON":             {[]string{"config", "TRIES", "-json"}, testbed.Environ(), exitOK, `"name": "POSTERN_TRIES",` + "\n    " + `"value": "3",`, ""},
		"config as markdown":         {[]string{"config", "-markdown"}, nil, exitOK, "| `POSTERN_LIMIT_SOURCE` | `10/10m` | tokens/time such as 10/10m, or off | denied logins per source ⟳ |\n", ""},
		"serve without settings":     {nil, nil, exitFailure, "", "postern: POSTERN_IMAP_BACKENDS: got nothing"},
		"serve with a mistake":       {[]string{"serve"}, testbed.Environ("POSTERN_LIMIT_SOURCE=ten"), exitFailure, "", `postern: POSTERN_LIMIT_SOURCE: got "ten", want tokens/time such as 10/10m, or off` + "\n"},
		"serve without certificates": {nil, testbed.Environ(), exitFailure, "", "postern: POSTERN_TLS_CERT: "},
		"demo with a mistake":        {[]string{"demo"}, []string{"POSTERN_TRIES=0"}, exitFailure, "", "postern: POSTERN_TRIES: "},
		"demo without a gateway":     {[]string{"demo", "-gateways", "0"}, nil, exitUsage, "", "postern demo: got -gateways 0, want 1 to 8"},
		"help for top":               {[]string{"top", "-h"}, nil, exitOK, "usage: postern top [flags]\n\nshow what happens now, live in a terminal:\n", ""},
		"help for learn":             {[]string{"learn", "-h"}, nil, exitOK, "usage: postern learn FILE... [flags]\n\nlearn users and usual traffic from logs of the past:\n", ""},
		"report of two":              {[]string{"report", "a", "b"}, nil, exitUsage, "", "postern report: got 2 arguments, want the ID of one incident"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), tt.args, tt.environ, &out, &errs)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for stream, pair := range map[string][2]string{"stdout": {out.String(), tt.stdout}, "stderr": {errs.String(), tt.stderr}} {
				got, want := pair[0], pair[1]
				if !strings.Contains(got, want) || want == "" && got != "" {
					t.Errorf("%s: got %q, want %q", stream, got, want)
				}
			}
		})
	}
}

// TestServeUntilCancelled: the end of the context has the effect of SIGTERM.
func TestServeUntilCancelled(t *testing.T) {
	for _, command := range []string{"serve", "demo"} {
		log := testbed.NewLog()
		site := testbed.NewSite(t)
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int)
		go func() { code <- run(ctx, []string{command}, site.Environ, log, log) }()
		log.Await(t, "event=start")
		cancel()
		if got := <-code; got != exitOK {
			t.Errorf("%s: exit %d\n%s", command, got, log)
		}
	}
}

// TestPluginLinks: the names of links for Munin and Nagios are the commands munin and
// check.
func TestPluginLinks(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"/etc/munin/plugins/postern_ config", "munin config"},
		{"postern_imap", "munin"},
		{"/usr/lib/nagios/plugins/check_postern -w 99", "check -w 99"},
		{"/usr/local/bin/postern serve", "serve"},
		{"postern", ""},
	} {
		if got := strings.Join(arguments(strings.Fields(tt.args)), " "); got != tt.want {
			t.Errorf("%s: got %q", tt.args, got)
		}
	}
}

// TestInstalledSettings are used if the environment has none.
func TestInstalledSettings(t *testing.T) {
	file := testbed.WriteFile(t, "POSTERN_TRIES=7\n")
	for name, tt := range map[string]struct {
		environ []string
		file    string
		want    string
	}{
		"no settings in the environment": {[]string{"HOME=/root"}, file, "HOME=/root POSTERN_ENV_FILE=" + file},
		"one setting in the environment": {[]string{"POSTERN_TRIES=2"}, file, "POSTERN_TRIES=2"},
		"no file":                        {[]string{"HOME=/root"}, file + ".none", "HOME=/root"},
	} {
		if got := strings.Join(environment(tt.environ, tt.file), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
