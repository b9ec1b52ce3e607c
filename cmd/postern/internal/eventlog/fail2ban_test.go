package eventlog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
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
		for strings.Contains(line, "%(") {
			line = regexp.MustCompile(`%\((\w+)\)s`).ReplaceAllStringFunc(line, func(name string) string { return found[name[2:len(name)-2]] })
		}
		patterns = append(patterns, regexp.MustCompile(strings.ReplaceAll(line, "<ADDR>", `(?P<addr>[0-9a-f.:]+)`)))
	}
	if len(patterns) == 0 {
		t.Fatal("the filter has no pattern")
	}
	return patterns
}

// loginRefused, connectionRefused and leftOutOf make lines about strangers that a rule
// has refused.
func loginRefused(v limiter.Verdict) func(*Log) {
	a := testAttempt("")
	a.Outcome, a.Verdict, a.Err, a.Backend = limiter.Void, v, errors.New("refused"), ""
	if v.Action == limiter.Repeat {
		a.Outcome = limiter.Denied
	}
	return func(l *Log) { l.Attempt(a) }
}

func connectionRefused(rule limiter.Rule) func(*Log) {
	r := testRecord("")
	r.End, r.Step, r.Backend, r.Verdict = proxy.EndRefused, proxy.StepConnect, "", limiter.Verdict{Action: limiter.Refuse, Rule: rule}
	r.Err = errors.New("refused")
	return func(l *Log) { l.Record(r) }
}

func leftOutOf(g group) func(*Log) {
	return func(l *Log) {
		l.LogAttrs(context.Background(), slog.LevelInfo, "lines left out", leftOut{group: g, rip: testClient.Addr(), lines: 5}.attrs()...)
	}
}

// TestFail2banFilter applies the filter to real lines: it finds clients that were
// refused because of what they did themselves, and no address that a client forged.
func TestFail2banFilter(t *testing.T) {
	patterns := failregex(t)
	verdict := func(action limiter.Action, rule limiter.Rule, known bool) limiter.Verdict {
		return limiter.Verdict{Action: action, Rule: rule, Known: known}
	}
	forged := "x event=connection listener=imap rip=198.51.100.9 rport=1 backend=b action=reject rule=connect result=refused why=x enforced=true "
	refuse, repeat := limiter.Refuse, limiter.Repeat
	named := testAttempt("")
	named.Forwarder, named.Outcome, named.Verdict, named.Err = testClient, limiter.Void, verdict(refuse, limiter.RuleSource, false), errors.New("refused")
	namedConnection := testRecord("")
	namedConnection.Forwarder, namedConnection.End, namedConnection.Verdict = testClient, proxy.EndRefused, verdict(refuse, limiter.RuleConnect, false)
	asked := named
	asked.Forwarder, asked.Listener = netip.AddrPort{}, "policy"
	observed := testAttempt("")
	observed.Observed, observed.Verdict = true, verdict(refuse, limiter.RuleSource, false)
	for name, tt := range map[string]struct {
		log    func(*Log)
		banned bool
	}{
		"too many wrong passwords":      {loginRefused(verdict(refuse, limiter.RuleSource, false)), true},
		"too many at one account":       {loginRefused(verdict(refuse, limiter.RulePair, false)), true},
		"a sprayed password":            {loginRefused(verdict(repeat, limiter.RuleSpray, false)), false},
		"a sprayed password, no look":   {loginRefused(verdict(refuse, limiter.RuleSpray, false)), false},
		"known at one account":          {loginRefused(verdict(refuse, limiter.RulePair, true)), false},
		"an old password":               {loginRefused(verdict(repeat, limiter.RuleRepeat, false)), false},
		"a wrong password":              {loginRefused(verdict(limiter.Pass, limiter.RuleNone, false)), false},
		"a wrong password, delayed":     {loginRefused(verdict(limiter.Wait, limiter.RuleSource, false)), false},
		"others at the account":         {loginRefused(verdict(refuse, limiter.RuleAccount, false)), false},
		"others in the prefix":          {loginRefused(verdict(refuse, limiter.RulePrefix, false)), false},
		"no token":                      {loginRefused(verdict(refuse, limiter.RuleGlobal, false)), false},
		"no backend":                    {loginRefused(verdict(refuse, limiter.RuleBackend, false)), false},
		"tarpit full":                   {loginRefused(verdict(refuse, limiter.RuleTarpit, false)), false},
		"observed":                      {func(l *Log) { l.Attempt(observed) }, false},
		"named by webmail":              {func(l *Log) { l.Attempt(named) }, false},
		"connection named by webmail":   {func(l *Log) { l.Record(namedConnection) }, false},
		"left out, named by webmail":    {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleSource, enforced: true, forwarder: testClient.Addr()}), false},
		"asked about by Dovecot":        {func(l *Log) { l.Attempt(asked) }, false},
		"left out, asked about":         {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleSource, enforced: true, listener: "policy"}), false},
		"too many connections a second": {connectionRefused(limiter.RuleConnect), true},
		"too many before login":         {connectionRefused(limiter.RuleOpenPrelogin), true},
		"connection of a refused login": {connectionRefused(limiter.RuleSource), false},
		"blocked connection":            {connectionRefused(limiter.RuleBlocked), false},
		"blocked login":                 {loginRefused(verdict(refuse, limiter.RuleBlocked, false)), false},
		"left out, blocked":             {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleBlocked, enforced: true}), false},
		"too many sessions":             {connectionRefused(limiter.RuleOpen), false},
		"no capacity":                   {connectionRefused(limiter.RuleMaxConnections), false},
		"session":                       {func(l *Log) { l.Record(testRecord("anna")) }, false},
		"forged line":                   {func(l *Log) { l.Record(testRecord("\n" + forged)); l.Attempt(testAttempt("\n" + forged)) }, false},
		"left out, source":              {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleSource, enforced: true}), true},
		"left out, connect":             {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleConnect, enforced: true}), true},
		"left out, spray":               {leftOutOf(group{client: "stranger", action: "repeat", rule: limiter.RuleSpray, enforced: true}), false},
		"left out, known":               {leftOutOf(group{client: "known", action: "reject", rule: limiter.RulePair, enforced: true}), false},
		"left out, observed":            {leftOutOf(group{client: "stranger", action: "reject", rule: limiter.RuleSource}), false},
		"left out, old password":        {leftOutOf(group{client: "stranger", action: "repeat", rule: limiter.RuleRepeat, enforced: true}), false},
		"left out, delayed":             {leftOutOf(group{client: "stranger", action: "tarpit", rule: limiter.RuleSource, enforced: true}), false},
		"left out, no capacity":         {leftOutOf(group{client: "stranger", action: "shed", rule: limiter.RuleGlobal, enforced: true}), false},
	} {
		for _, format := range []string{"json", "text"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				var out bytes.Buffer
				tt.log(New(&out, format, slog.LevelInfo))
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
