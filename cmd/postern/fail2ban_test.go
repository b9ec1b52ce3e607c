package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"postern/limiter"
	"postern/proxy"
)

// failregex reads the patterns of the filter in deploy, with what
// fail2ban takes <ADDR> for.
func failregex(t *testing.T) (patterns []*regexp.Regexp) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/fail2ban/filter.d/postern.conf")
	if err != nil {
		t.Fatal(err)
	}
	definition := regexp.MustCompile(`(?m)^(\w+) = (.*(?:\n[ \t]+\S.*)*)`)
	found := map[string]string{}
	for _, m := range definition.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	for line := range strings.Lines(found["failregex"]) {
		line = strings.TrimSpace(line)
		for _, name := range []string{"_prefix", "_rule"} {
			line = strings.ReplaceAll(line, "%("+name+")s", found[name])
		}
		patterns = append(patterns, regexp.MustCompile(strings.ReplaceAll(line, "<ADDR>", `(?P<addr>[0-9a-f.:]+)`)))
	}
	if len(patterns) == 0 {
		t.Fatal("the filter has no pattern")
	}
	return patterns
}

// TestFail2banFilter runs the filter over lines as they are really written: it
// finds those who were refused for asking too much, and nobody whom a stranger
// names.
func TestFail2banFilter(t *testing.T) {
	patterns := failregex(t)
	refused := func(rule limiter.Rule) proxy.Record {
		r := testRecord("")
		r.End, r.Step, r.Backend, r.Verdict = proxy.EndRefused, proxy.StepConnect, "", limiter.Verdict{Action: limiter.Refuse, Rule: rule}
		r.Err = errors.New("refused")
		return r
	}
	forged := "x event=connection listener=imap rip=198.51.100.9 rport=1 backend=b action=reject rule=source "
	for name, tt := range map[string]struct {
		record proxy.Record
		guilty bool
	}{
		"too many connections a second": {refused(limiter.RuleConnect), true},
		"too many before login":         {refused(limiter.RuleOpenPrelogin), true},
		"too many wrong passwords":      {refused(limiter.RuleSource), true},
		"too many sessions":             {refused(limiter.RuleOpen), false},
		"no room":                       {refused(limiter.RuleMaxConnections), false},
		"a good session":                {testRecord("anna"), false},
		"a forger":                      {testRecord("\n" + forged), false},
	} {
		for _, format := range []logFormat{"json", "text"} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				var out bytes.Buffer
				newJournal(&out, LogSettings{Format: format}).record(tt.record)
				for _, before := range []string{"", "gate postern[42]: "} {
					if host := banned(patterns, before+out.String()); host != "" != tt.guilty || tt.guilty && host != "192.0.2.7" {
						t.Errorf("bans %q for %s%s", host, before, &out)
					}
				}
			})
		}
	}
}

// banned returns the address that the first pattern to match a line of text
// finds, or "".
func banned(patterns []*regexp.Regexp, text string) string {
	for line := range strings.Lines(text) {
		for _, p := range patterns {
			if m := p.FindStringSubmatch(line); m != nil {
				return m[p.SubexpIndex("addr")]
			}
		}
	}
	return ""
}
