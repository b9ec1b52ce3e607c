package eventlog

import (
	"bytes"
	"errors"
	"log/slog"
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
	text, err := os.ReadFile("../../../../deploy/fail2ban/filter.d/postern.conf")
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

// TestFail2banFilter applies the filter to real lines: it finds clients that were
// refused because they asked for too much, and no address that a client forged.
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
		banned bool
	}{
		"too many connections a second": {refused(limiter.RuleConnect), true},
		"too many before login":         {refused(limiter.RuleOpenPrelogin), true},
		"too many wrong passwords":      {refused(limiter.RuleSource), true},
		"too many sessions":             {refused(limiter.RuleOpen), false},
		"no capacity":                   {refused(limiter.RuleMaxConnections), false},
		"session":                       {testRecord("anna"), false},
		"forged line":                   {testRecord("\n" + forged), false},
	} {
		for _, format := range []string{"json", "text"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				var out bytes.Buffer
				New(&out, format, slog.LevelInfo).Record(tt.record)
				for _, before := range []string{"", "host postern[42]: "} {
					if host := match(patterns, before+out.String()); host != "" != tt.banned || tt.banned && host != "192.0.2.7" {
						t.Errorf("bans %q for %s%s", host, before, &out)
					}
				}
			})
		}
	}
}

// match returns the address that the first pattern to match a line of text
// finds, or "".
func match(patterns []*regexp.Regexp, text string) string {
	for line := range strings.Lines(text) {
		for _, p := range patterns {
			if m := p.FindStringSubmatch(line); m != nil {
				return m[p.SubexpIndex("addr")]
			}
		}
	}
	return ""
}
