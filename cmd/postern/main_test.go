package main

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
)

// TestRun tries every way to call postern that returns by itself.
func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		args           []string
		environ        []string
		code           int
		stdout, stderr string // must be contained; empty means that nothing is written
	}{
		"help":                       {[]string{"help"}, nil, exitOK, "usage: postern [command] [flags]", ""},
		"-h":                         {[]string{"-h"}, nil, exitOK, "commands:\n  serve ", ""},
		"--help":                     {[]string{"--help"}, nil, exitOK, "print every setting", ""},
		"a command's help":           {[]string{"config", "-h"}, nil, exitOK, "usage: postern config [flags]\n\nprint every setting", ""},
		"a command that is unknown":  {[]string{"sevre"}, nil, exitUsage, "", `postern: "sevre" is not a command`},
		"an empty command":           {[]string{""}, nil, exitUsage, "", `postern: "" is not a command`},
		"a command in escapes":       {[]string{"\x1b[2J"}, nil, exitUsage, "", `postern: "\x1b[2J" is not a command`},
		"a flag that is unknown":     {[]string{"-port", "143"}, nil, exitUsage, "", "postern serve: flag provided but not defined: -port"},
		"a flag of another command":  {[]string{"serve", "-markdown"}, nil, exitUsage, "", "usage: postern serve"},
		"an argument too many":       {[]string{"serve", "now"}, nil, exitUsage, "", `postern serve: takes no argument "now"`},
		"version":                    {[]string{"version"}, nil, exitOK, runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n", ""},
		"config":                     {[]string{"config"}, sane(), exitOK, "POSTERN_TLS_CERT", ""},
		"config with a mistake":      {[]string{"config"}, sane("POSTERN_TRIES=x"), exitFailure, "POSTERN_TRIES", `postern: POSTERN_TRIES: "x": takes a number from 1 on` + "\n"},
		"config of nothing":          {[]string{"config"}, nil, exitFailure, "POSTERN_IMAP_BACKENDS", "postern: POSTERN_IMAP_BACKENDS: not set"},
		"config as markdown":         {[]string{"config", "-markdown"}, nil, exitOK, "| `POSTERN_LIMIT_SOURCE` | `10/10m` | tokens/time such as 10/10m, or off | denials per source ⟳ |\n", ""},
		"serve without settings":     {nil, nil, exitFailure, "", "postern: POSTERN_IMAP_BACKENDS: not set"},
		"serve with a mistake":       {[]string{"serve"}, sane("POSTERN_LIMIT_SOURCE=ten"), exitFailure, "", `postern: POSTERN_LIMIT_SOURCE: "ten": takes tokens/time such as 10/10m, or off` + "\n"},
		"serve without certificates": {nil, sane(), exitFailure, "", "postern: POSTERN_TLS_CERT: "},
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

// TestConfigMarksWhatDiffers: a star before a setting that is not the default,
// and a value even for one that nobody has set but that follows from others.
func TestConfigMarksWhatDiffers(t *testing.T) {
	c, err := load(sane("POSTERN_TRIES=5", "POSTERN_DRAIN=5m"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeSettings(&out, c); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		for name, want := range map[string]string{"POSTERN_TRIES": "* POSTERN_TRIES 5 3", "POSTERN_DRAIN": "POSTERN_DRAIN 5m 5m", "POSTERN_EXEMPT": "POSTERN_EXEMPT - -", "POSTERN_MAX_CONNECTIONS": "POSTERN_MAX_CONNECTIONS 10000 from"} {
			if strings.Contains(line, name+" ") && !strings.HasPrefix(strings.Join(fields, " "), want) {
				t.Errorf("got %q, want %q", line, want)
			}
		}
	}
}

func TestBuildString(t *testing.T) {
	tail := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	for want, b := range map[string]build{
		"postern (devel)" + tail:               {Version: "(devel)"},
		"postern v1.2.3 (0123456789ab)" + tail: {Version: "v1.2.3", Revision: "0123456789abcdef"},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestFDLimitIsRaised: the Go runtime has raised the soft limit, so what is
// read is all there is.
func TestFDLimitIsRaised(t *testing.T) {
	n, err := fdLimit()
	if err != nil || n < fdReserve {
		t.Errorf("got %d, %v", n, err)
	}
}

// TestServeUntilCancelled: the end of the context is as good as SIGTERM.
func TestServeUntilCancelled(t *testing.T) {
	_, _, environ := houseSettings(t)
	log := newLogbook()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- run(ctx, []string{"serve"}, environ, log, log) }()
	log.await(t, "event=start")
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit %d\n%s", got, log)
	}
}
