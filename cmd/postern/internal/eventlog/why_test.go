package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy"
)

var client = netip.MustParseAddrPort("192.0.2.7:50001")

// why logs an attempt or a connection and returns the field why of its line. explain
// may be nil.
func why(t *testing.T, what any, explain func(limiter.Attempt, limiter.Rule) string) string {
	t.Helper()
	var out bytes.Buffer
	l := eventlog.New(&out, "text", slog.LevelInfo)
	l.Explain = explain
	switch what := what.(type) {
	case proxy.Attempt:
		l.Attempt(what)
	case proxy.Record:
		l.Record(what)
	}
	_, fields, err := testbed.ParseLine("text", strings.TrimSuffix(out.String(), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return fields["why"]
}

// whyBlocked is the reason of what an operator has blocked.
const whyBlocked = "an operator has blocked the network of the client; postern decisions"

// settingName finds what looks like a setting.
var settingName = regexp.MustCompile(`\b` + config.Prefix + `\w+`)

// checkWhy fails the test unless text has a reason and names settings that exist, or the
// command that shows what an operator has blocked.
func checkWhy(t *testing.T, text string) {
	t.Helper()
	if text == whyBlocked {
		return
	}
	before, _, found := strings.Cut(text, "; ")
	names := settingName.FindAllString(text, -1)
	if !found || before == "" || len(names) == 0 {
		t.Errorf("got %q, want a reason and a setting", text)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], config.Prefix)
	}
	if err := config.CheckNames(names); err != nil {
		t.Errorf("%q: %v", text, err)
	}
}

// TestEveryRuleHasAWhy that names settings, in lines about logins and in those about
// connections, for each action.
func TestEveryRuleHasAWhy(t *testing.T) {
	for _, rule := range limiter.Rules() {
		if rule == limiter.RuleNone {
			continue
		}
		for _, action := range []limiter.Action{limiter.Wait, limiter.Repeat, limiter.Refuse} {
			v := limiter.Verdict{Action: action, Rule: rule, Wait: time.Second}
			t.Run(fmt.Sprintf("%s/%v", rule, action), func(t *testing.T) {
				if got := why(t, proxy.Attempt{Client: client, Verdict: v}, nil); (got == whyBlocked) != (rule == limiter.RuleBlocked) {
					t.Errorf("got %q", got)
				}
				for _, protocol := range []string{"imap", "pop3"} {
					checkWhy(t, why(t, proxy.Attempt{Client: client, Protocol: protocol, Verdict: v}, nil))
					checkWhy(t, why(t, proxy.Record{Client: client, Protocol: protocol, Verdict: v, End: proxy.EndRefused}, nil))
				}
			})
		}
	}
}

// TestWhy of what rules alone do not say.
func TestWhy(t *testing.T) {
	verdict := func(action limiter.Action, rule limiter.Rule) limiter.Verdict {
		return limiter.Verdict{Action: action, Rule: rule}
	}
	backend := verdict(limiter.Refuse, limiter.RuleBackend)
	waited := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleBackend, Wait: 5 * time.Second}
	unreachable := errors.New("connection refused")
	for name, tt := range map[string]struct {
		what any
		want string
	}{
		"accepted":   {proxy.Attempt{Client: client, Outcome: limiter.Accepted}, ""},
		"denied":     {proxy.Attempt{Client: client, Outcome: limiter.Denied}, ""},
		"session":    {proxy.Record{Client: client, Account: "anna"}, ""},
		"no backend": {proxy.Attempt{Client: client, Protocol: "pop3", Verdict: backend, Err: unreachable}, "no backend could be reached; POSTERN_POP3_BACKENDS"},
		"reset behind the PROXY header": {
			proxy.Attempt{Client: client, Protocol: "imap", Verdict: backend, Err: fmt.Errorf("greet: %w", &proxy.HeaderError{Gateway: netip.MustParseAddr("192.0.2.9"), Err: io.EOF})},
			"a backend closed the connection after the PROXY header: in Dovecot, haproxy_trusted_networks must contain 192.0.2.9, the address of this gateway, and the inet_listener must have `haproxy = yes`; without PROXY headers, set POSTERN_BACKEND_PROXY=off; POSTERN_IMAP_BACKENDS",
		},
		"no slot":      {proxy.Attempt{Client: client, Protocol: "imap", Verdict: backend, Err: proxy.ErrNoSlot}, "no login slot of a backend was free; POSTERN_BACKEND_LOGINS"},
		"waited, none": {proxy.Attempt{Client: client, Protocol: "imap", Verdict: backend, Err: errors.Join(unreachable, proxy.ErrNoSlot), Waited: 10 * time.Second}, "no login slot of a backend was free, after a wait of 10s; POSTERN_BACKEND_LOGINS"},
		"waited":       {proxy.Attempt{Client: client, Protocol: "imap", Verdict: waited}, "all login slots of the backends were in use for 5s; POSTERN_BACKEND_LOGINS"},
		"connection":   {proxy.Record{Client: client, Protocol: "imap", Verdict: backend, Err: proxy.ErrNoSlot}, "no login slot of a backend was free; POSTERN_BACKEND_LOGINS"},
		"tries":        {proxy.Record{Client: client, End: proxy.EndTries}, "too many denied logins on one connection; POSTERN_TRIES"},
		"blocked":      {proxy.Record{Client: client, Account: "anna", End: proxy.EndBlocked}, whyBlocked},
		"evicted":      {proxy.Record{Client: client, End: proxy.EndEvicted}, "closed for another connection, of the same source or of anybody; POSTERN_LIMIT_OPEN_PRELOGIN, POSTERN_MAX_CONNECTIONS"},
	} {
		if got := why(t, tt.what, nil); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		if tt.want != "" {
			checkWhy(t, tt.want)
		}
	}
}

// TestWhyHasFigures of the rule that decided, as long as they explain the verdict. The
// text of a connection that was not refused at once has none.
func TestWhyHasFigures(t *testing.T) {
	var asked []limiter.Attempt
	explain := func(a limiter.Attempt, rule limiter.Rule) string {
		asked = append(asked, a)
		if rule == limiter.RulePair {
			return ""
		}
		return "10 of 10 spent by " + string(rule)
	}
	refused := func(rule limiter.Rule) limiter.Verdict { return limiter.Verdict{Action: limiter.Refuse, Rule: rule} }
	for name, tt := range map[string]struct {
		what  any
		want  string
		asked limiter.Attempt
	}{
		"login":       {proxy.Attempt{Client: client, Account: "anna", Verdict: refused(limiter.RuleSource)}, "10 of 10 spent by source; POSTERN_LIMIT_SOURCE", limiter.Attempt{Addr: client.Addr(), Account: "anna"}},
		"token":       {proxy.Attempt{Client: client, Method: "XOAUTH2", Verdict: refused(limiter.RuleSource)}, "10 of 10 spent by source; POSTERN_LIMIT_SOURCE", limiter.Attempt{Addr: client.Addr(), Token: true}},
		"no figures":  {proxy.Attempt{Client: client, Verdict: refused(limiter.RulePair)}, "denials of the client on the account; POSTERN_LIMIT_PAIR", limiter.Attempt{Addr: client.Addr()}},
		"connect":     {proxy.Record{Client: client, Step: proxy.StepConnect, End: proxy.EndRefused, Verdict: refused(limiter.RuleConnect)}, "10 of 10 spent by connect; POSTERN_LIMIT_CONNECT", limiter.Attempt{Addr: client.Addr()}},
		"observed":    {proxy.Record{Client: client, Step: proxy.StepRelay, Observed: true, Verdict: refused(limiter.RuleConnect)}, "too many new connections of the source; POSTERN_LIMIT_CONNECT", limiter.Attempt{}},
		"after login": {proxy.Record{Client: client, Step: proxy.StepVerdict, End: proxy.EndRefused, Verdict: refused(limiter.RuleSource)}, "denials of the source; POSTERN_LIMIT_SOURCE", limiter.Attempt{}},
	} {
		asked = nil
		if got := why(t, tt.what, explain); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		if tt.asked != (limiter.Attempt{}) != (len(asked) == 1) || len(asked) == 1 && asked[0] != tt.asked {
			t.Errorf("%s: asked about %+v, want %+v", name, asked, tt.asked)
		}
	}
}

// TestOnlyWrittenLinesAreExplained: a flood of refusals costs no explanations.
func TestOnlyWrittenLinesAreExplained(t *testing.T) {
	var out bytes.Buffer
	l := eventlog.New(&out, "text", slog.LevelInfo)
	explained := 0
	l.Explain = func(limiter.Attempt, limiter.Rule) string { explained++; return "" }
	for range 1000 {
		l.Attempt(proxy.Attempt{Client: client, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}})
	}
	if lines := strings.Count(out.String(), "\n"); explained != lines || lines >= 1000 {
		t.Errorf("%d explanations for %d lines", explained, lines)
	}
}
