package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/cmd/postern/internal/explain"
)

// TestExplain asks a gateway about what it knows and what it does not.
func TestExplain(t *testing.T) {
	g := start(t, prefix+"STATE_DIR="+t.TempDir())
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"explain", "192.0.2.7"}, exitOK, "source 192.0.2.7: No refusal or wrong password is remembered of 192.0.2.7."},
		{[]string{"explain", "192.0.2.0/24"}, exitOK, "network 192.0.2.0/24: "},
		{[]string{"explain", "anna"}, exitOK, "account anna: "},
		{[]string{"explain", "an&na=? %"}, exitOK, `account an&na\x3d? %: `},
		{[]string{"explain", "anna", "-json"}, exitOK, `"subject": "account"`},
		{[]string{"explain", "abcdef-1"}, exitFailure, "postern: explain: session abcdef-1: nothing is remembered of it: refusals of known users are remembered since "},
		{[]string{"explain", "192.0.2.0/99"}, exitFailure, `postern: explain: network: got "192.0.2.0/99", want an address or a network`},
		{[]string{"explain", strings.Repeat("x", 321)}, exitFailure, "postern: explain: about: got 321 octets"},
		{[]string{"explain", ""}, exitFailure, "postern: explain: about: got nothing, want the ID of a session, an address, a network or an account"},
		{[]string{"explain"}, exitUsage, "postern explain: got 0 arguments, want the ID of a session"},
		{[]string{"explain", "anna", "kari"}, exitUsage, "postern explain: got 2 arguments"},
	} {
		code, out := g.command(t, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.says) || code != exitOK && code != exitUsage && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", tt.args, code, out)
		}
	}
	code, out := g.command(t, "explain", "anna", "-json")
	var e explain.Explanation
	if err := json.Unmarshal([]byte(out), &e); code != exitOK || err != nil || e.Subject != explain.Account || len(e.Advice) == 0 {
		t.Errorf("exit %d, %v, %q", code, err, out)
	}
}

// TestPrintExplanation wraps texts, keeps commands in one line, and lets nothing steer the terminal.
func TestPrintExplanation(t *testing.T) {
	long := strings.Repeat("å word ", 40)
	var out strings.Builder
	printExplanation(&out, &explain.Explanation{
		Subject: explain.Account, About: "anna\x1b[2J", Summary: long,
		Facts:  []explain.Fact{{Heading: "One", Text: long}, {Heading: "One", Text: "short"}, {Heading: "Two", Text: "a\nb"}},
		Advice: []explain.Advice{{Text: long, Command: "postern release '" + long + "'"}, {Text: strings.Repeat("x", 120)}},
	})
	got := out.String()
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > explainWidth && !strings.HasPrefix(line, "     $ ") && !strings.Contains(line, "xxx") {
			t.Errorf("got %d columns in %q", n, line)
		}
	}
	for _, want := range []string{"account anna [2J: å word", "\n\nOne\n  - å", "\n  - short\n\nTwo\n  - a b\n", "\n\nWhat to do\n  1. å", "\n     å word", "\n     $ postern release 'å", "\n  2. xxx"} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("got an escape in %q", got)
	}
}
