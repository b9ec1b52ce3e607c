package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/proxy"
)

var start = time.Date(2026, 3, 29, 14, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

// fixture is what a test explains from.
type fixture struct {
	recent    *recent.Memory
	inspect   func(limiter.Attempt) limiter.Inspection
	decisions []decisions.Decision
	listed    listedSource
	observing bool
}

func newFixture() *fixture { return &fixture{recent: recent.New(start)} }

func (f *fixture) sources() Sources {
	return Sources{
		Recent: f.recent,
		Inspect: func(_ time.Time, a limiter.Attempt) limiter.Inspection {
			if f.inspect == nil {
				return limiter.Inspection{}
			}
			return f.inspect(a)
		},
		Users:     func(_ time.Time, p netip.Prefix, _ time.Duration) (int, bool) { return 3, p.Bits() >= 16 },
		Decisions: func() []decisions.Decision { return f.decisions },
		Observing: func() bool { return f.observing }, Listed: f.listed.find,
	}
}

// explain explains about, ten minutes after the start.
func (f *fixture) explain(t *testing.T, about string) Explanation {
	t.Helper()
	e, err := Explain(at(10*time.Minute), about, f.sources())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// refuse adds an attempt that a rule refuses.
func (f *fixture) refuse(d time.Duration, id, addr, account string, rule limiter.Rule) {
	f.recent.Attempt(at(d), proxy.Attempt{
		Session: id, Listener: "imaps", Client: netip.AddrPortFrom(netip.MustParseAddr(addr), 1), Account: account, Method: "PLAIN",
		JA4: testJA4, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: rule},
	}, "the reason; POSTERN_X")
}

// text is all of an explanation in lines.
func text(e Explanation) string {
	lines := []string{e.Summary}
	for _, f := range e.Facts {
		lines = append(lines, f.Heading+": "+f.Text)
	}
	for _, a := range e.Advice {
		lines = append(lines, "> "+a.Text, "$ "+a.Command)
	}
	return strings.Join(lines, "\n")
}

// settingName finds what looks like a setting.
var settingName = regexp.MustCompile(`\bPOSTERN_\w+`)

// check fails the test unless e has what each explanation must have.
func check(t *testing.T, e Explanation) {
	t.Helper()
	all := text(e)
	if e.Summary == "" || len(e.Advice) == 0 || len(e.Facts) == 0 || e.Events == nil || e.Decisions == nil {
		t.Errorf("got a summary %q, %d facts and %d advices, want some of each", e.Summary, len(e.Facts), len(e.Advice))
	}
	var names []string
	for _, name := range settingName.FindAllString(strings.ReplaceAll(all, "POSTERN_X", ""), -1) {
		names = append(names, strings.TrimPrefix(name, config.Prefix))
	}
	for _, a := range e.Advice {
		if rest, ok := strings.CutPrefix(a.Command, "postern config "); ok {
			names = append(names, strings.Fields(rest)...)
		}
	}
	if err := config.CheckNames(names); err != nil {
		t.Errorf("%v in\n%s", err, all)
	}
	for _, bad := range []string{"..", "  ", "%!", "( ", " ,", "because because"} {
		if strings.Contains(all, bad) {
			t.Errorf("got %q in\n%s", bad, all)
		}
	}
}

// TestEveryRuleIsExplained, as a refusal, a delay and a repeat of an attempt, as the refusal of
// a connection, and as what would happen now.
func TestEveryRuleIsExplained(t *testing.T) {
	for _, rule := range limiter.Rules() {
		if rule == limiter.RuleNone {
			continue
		}
		for _, action := range []limiter.Action{limiter.Wait, limiter.Repeat, limiter.Refuse} {
			t.Run(fmt.Sprint(rule, "/", action), func(t *testing.T) {
				f := newFixture()
				v := limiter.Verdict{Action: action, Rule: rule}
				a := proxy.Attempt{Session: "abcdef-1", Listener: "imaps", Client: netip.MustParseAddrPort("192.0.2.7:1"), Account: "anna", Verdict: v}
				if action != limiter.Refuse {
					v.Wait = 4 * time.Second
					a.Verdict, a.Outcome, a.Waited = v, limiter.Denied, v.Wait
				}
				f.recent.Attempt(start, a, "")
				f.recent.Record(start, proxy.Record{ID: "abcdef-2", Listener: "pop3", Client: a.Client, Verdict: v, End: proxy.EndRefused}, "")
				f.inspect = func(limiter.Attempt) limiter.Inspection { return limiter.Inspection{Stranger: v} }
				for _, about := range []string{"abcdef-1", "abcdef-2", "anna", "192.0.2.7", "192.0.2.0/24", "203.0.113.1"} {
					e := f.explain(t, about)
					check(t, e)
					if !strings.Contains(text(e), causes[rule]) || !strings.Contains(text(e), "rule "+string(rule)) {
						t.Errorf("%s: got no cause in\n%s", about, text(e))
					}
				}
			})
		}
	}
}

// TestEveryEndIsExplained of connections that ended without an attempt, also of those that
// are no events.
func TestEveryEndIsExplained(t *testing.T) {
	for _, end := range proxy.Ends() {
		f := newFixture()
		f.recent.Record(start, proxy.Record{ID: "abcdef-1", Listener: "imaps", Client: netip.MustParseAddrPort("192.0.2.7:1"), End: end,
			Verdict: limiter.Verdict{Rule: limiter.RuleNone}, Err: errors.New("what failed")}, "")
		if endings[end] == "" && end != proxy.EndRefused {
			t.Errorf("%v has no phrase", end)
		}
		if len(f.recent.Find("abcdef-1")) == 0 {
			continue
		}
		e := f.explain(t, "abcdef-1")
		check(t, e)
		if want := endings[end]; !strings.Contains(strings.ToLower(e.Summary), strings.ToLower(want)) {
			t.Errorf("%v: got %q, want %q", end, e.Summary, want)
		}
	}
}

// TestEveryResultIsExplained.
func TestEveryResultIsExplained(t *testing.T) {
	for name, tt := range map[string]struct {
		a    proxy.Attempt
		want string
	}{
		"denied":    {proxy.Attempt{Outcome: limiter.Denied}, "a mail server denied a login to the account anna from 192.0.2.7 at imaps: the password or the name is wrong"},
		"abandoned": {proxy.Attempt{Abandoned: true, Method: "CRAM-MD5"}, "the client left a challenge of the mail server unanswered"},
		"void":      {proxy.Attempt{Err: errors.New("backend timed out")}, "was cut short by the client or a mail server: backend timed out"},
		"accepted":  {proxy.Attempt{Outcome: limiter.Accepted, Waited: 4 * time.Second, Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource}}, "accepted a login to the account anna from 192.0.2.7 at imaps after a delay of 4s because too many wrong"},
		"observed":  {proxy.Attempt{Outcome: limiter.Denied, Observed: true, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}}, "verdicts were only observed"},
	} {
		f := newFixture()
		tt.a.Session, tt.a.Client, tt.a.Account, tt.a.Listener = "abcdef-1", netip.MustParseAddrPort("192.0.2.7:1"), "anna", "imaps"
		f.recent.Attempt(start, tt.a, "")
		e := f.explain(t, "abcdef-1")
		check(t, e)
		if !strings.Contains(e.Summary, strings.TrimPrefix(tt.want, "a ")) {
			t.Errorf("%s: got %q, want %q", name, e.Summary, tt.want)
		}
	}
}

// TestSubject: what a question is about is decided by its form, and for IDs by what is remembered.
func TestSubject(t *testing.T) {
	f := newFixture()
	f.refuse(0, "abcdef-1", "192.0.2.7", "anna", limiter.RulePair)
	f.refuse(0, "abcdef-2", "192.0.2.7", "backup-2024", limiter.RulePair)
	for about, want := range map[string][2]string{
		"abcdef-1":            {"session", "abcdef-1"},
		" (ABCDEF-1). ":       {"session", "abcdef-1"},
		"anna":                {"account", "anna"},
		"backup-2024":         {"account", "backup-2024"},
		"a/b":                 {"account", "a/b"},
		`j\xc3\xb6rg`:         {"account", `j\xc3\xb6rg`},
		"jörg":                {"account", `j\xc3\xb6rg`},
		"192.0.2.7":           {"source", "192.0.2.7"},
		"::ffff:192.0.2.7":    {"source", "192.0.2.7"},
		"192.0.2.7/32":        {"source", "192.0.2.7"},
		"fe80::1%eth0":        {"source", "fe80::1"},
		"2001:db8::/64":       {"source", "2001:db8::/64"},
		"192.0.2.7/24":        {"network", "192.0.2.0/24"},
		"::ffff:10.0.0.0/104": {"network", "10.0.0.0/8"},
	} {
		if e := f.explain(t, about); string(e.Subject) != want[0] || e.About != want[1] {
			t.Errorf("%q: got %s %q, want %s %q", about, e.Subject, e.About, want[0], want[1])
		}
	}
}

func TestQuestionsThatMakeNoSense(t *testing.T) {
	for about, want := range map[string]string{
		"":                       "about: got nothing, want the ID of a session, an address, a network or an account",
		"  ":                     "about: got nothing",
		strings.Repeat("x", 321): "about: got 321 octets, want the ID of a session, an address, a network or an account of at most 320",
		"192.0.2.0/99":           `network: got "192.0.2.0/99", want an address or a network`,
		"an\x1bna":               `about: got "an\\x1bna", want a name without control characters`,
	} {
		_, err := Explain(start, about, newFixture().sources())
		var request decisions.RequestError
		if !errors.As(err, &request) || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q: got %v, want %q", about, err, want)
		}
	}
	_, err := Explain(at(time.Minute), "abcdef-9", newFixture().sources())
	want := "session abcdef-9: nothing is remembered of it: refusals of known users are remembered since 14:00:00, those of others since 14:00:00; the log may have older ones, in field session"
	if !errors.Is(err, ErrNotFound) || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// spent is an Inspection in which the pair is empty.
func spent(limiter.Attempt) limiter.Inspection {
	return limiter.Inspection{
		OpenMax: 200, Open: 2, PreloginMax: 30, Prelogin: 1, Connect: limiter.Bucket{Size: 60, Spent: 3, Full: time.Second},
		Buckets: []limiter.Bucket{
			{Rule: limiter.RuleSource, Of: "source", Size: 10, Spent: 6, Full: 6 * time.Minute},
			{Rule: limiter.RulePair, Of: "source on the account", Size: 5, Spent: 5, Held: 1, Full: 10 * time.Minute, LookSize: 5, LooksSpent: 2},
		},
		Account:  limiter.AccountKnowledge{Known: true, Credentials: 1, Sources: 2, Last: at(-time.Hour)},
		Stranger: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair},
	}
}

func TestExplainSession(t *testing.T) {
	f := newFixture()
	f.inspect = spent
	f.refuse(3*time.Minute, "abcdef-1", "192.0.2.7", "anna", limiter.RulePair)
	f.refuse(4*time.Minute, "abcdef-2", "192.0.2.7", "anna", limiter.RuleSource) // another session
	e := f.explain(t, "abcdef-1")
	check(t, e)
	want := `14:03:00: postern refused a login to the account anna from 192.0.2.7 at imaps for a while because too many wrong passwords for the account came from the client (rule pair). A login would be refused now, too, except with a known device or password.
What happened: 14:03:00: postern refused a login to the account anna from 192.0.2.7 at imaps for a while because too many wrong passwords for the account came from the client (rule pair).
What happened: The reason in the log is: the reason; POSTERN_X.
What is known: The account anna is known: the latest login was accepted around 13:00:00, and 1 password, 2 sources, 0 networks and 0 devices of it are known.
What is known: The account was not accepted from the source 192.0.2.7 or its network, so a client there is a stranger unless its device or password is known.
What is counted against it: Source 192.0.2.7: 2 of 200 connections open, 1 of 30 of them before login.
What is counted against it: Source 192.0.2.7: 3 of 60 new connections spent, all free again in 1s (rule connect, POSTERN_LIMIT_CONNECT).
What is counted against it: Source 192.0.2.7: 6 of 10 denials spent, all free again in 6m (rule source, POSTERN_LIMIT_SOURCE).
What is counted against it: Source on the account: 5 of 5 denials spent, 1 held by attempts under way, 2 of 5 looks spent, all free again in 10m (rule pair, POSTERN_LIMIT_PAIR).
What would happen now: A client with a password that is not known would be refused because too many wrong passwords for the account came from the client (rule pair).
What would happen now: A client with the password that was accepted last would be let through to a mail server at once.
> When the user has corrected the password in all their programs, release what is counted.
$ postern release anna
> Or wait until 14:12:01: the next attempt is possible at about that time.
$ 
> If it happens to many users, change the limit: POSTERN_LIMIT_PAIR.
$ postern config LIMIT_PAIR`
	if got := text(e); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(e.Events) != 1 || e.Events[0].Session != "abcdef-1" {
		t.Errorf("got events %v", e.Events)
	}
}

// TestRemedyComesFirst: the first advice, and its command.
func TestRemedyComesFirst(t *testing.T) {
	block := decisions.Decision{Kind: decisions.Block, Network: netip.MustParsePrefix("192.0.2.0/24"), By: "kari", Made: start, Comment: "bots"}
	for name, tt := range map[string]struct {
		about string
		do    func(*fixture)
		want  string
	}{
		"blocked":    {"192.0.2.7", func(f *fixture) { f.decisions = []decisions.Decision{block} }, "end the decision. postern release 192.0.2.0/24"},
		"passes now": {"abcdef-1", func(f *fixture) { f.refuse(0, "abcdef-1", "192.0.2.7", "anna", limiter.RuleSource) }, "Have the user try again: a login would be let through to a mail server now. "},
		"nothing":    {"192.0.2.7", func(*fixture) {}, "Nothing: no refusal is remembered"},
		"pair":       {"abcdef-1", func(f *fixture) { f.inspect = spent; f.refuse(0, "abcdef-1", "192.0.2.7", "anna", limiter.RulePair) }, "release what is counted. postern release anna"},
		"odd name":   {"abcdef-1", func(f *fixture) { f.inspect = spent; f.refuse(0, "abcdef-1", "192.0.2.7", "o; rm", limiter.RulePair) }, "postern release 'o; rm'"},
		"hostile name": {"abcdef-1", func(f *fixture) {
			f.inspect = spent
			f.refuse(0, "abcdef-1", "192.0.2.7", "'; rm -rf", limiter.RulePair)
		}, "postern release 192.0.2.7"},
		"flag": {"abcdef-1", func(f *fixture) { f.inspect = spent; f.refuse(0, "abcdef-1", "192.0.2.7", "-force", limiter.RulePair) }, "postern release 192.0.2.7"},
		"an address": {"abcdef-1", func(f *fixture) {
			f.inspect = spent
			f.refuse(0, "abcdef-1", "192.0.2.7", "10.0.0.1", limiter.RulePair)
		}, "postern release 192.0.2.7"},
		"line feed":    {"abcdef-1", func(f *fixture) { f.inspect = spent; f.refuse(0, "abcdef-1", "192.0.2.7", "a\nb", limiter.RulePair) }, "postern release 192.0.2.7"},
		"repeat":       {"abcdef-1", func(f *fixture) { f.refuse(0, "abcdef-1", "192.0.2.7", "anna", limiter.RuleRepeat) }, "Nothing at postern"},
		"capacity":     {"abcdef-1", func(f *fixture) { f.refuse(0, "abcdef-1", "192.0.2.7", "anna", limiter.RuleMaxConnections) }, "Have the user try again: "},
		"IPv6":         {"abcdef-1", func(f *fixture) { f.inspect = spent; f.refuse(0, "abcdef-1", "2001:db8::7", "", limiter.RuleSource) }, "postern release 2001:db8::/64"},
		"former block": {"abcdef-1", func(f *fixture) { f.refuse(0, "abcdef-1", "192.0.2.7", "", limiter.RuleBlocked) }, "Have the user try again"},
		"denied latest": {"anna", func(f *fixture) {
			f.recent.Attempt(start, proxy.Attempt{Session: "s", Account: "anna", Outcome: limiter.Denied}, "")
		}, "Nothing at postern: the mail server says"},
	} {
		f := newFixture()
		tt.do(f)
		e := f.explain(t, tt.about)
		check(t, e)
		if got := e.Advice[0].Text + " " + e.Advice[0].Command; !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// TestDecisionsAndUsers are named, with who made them, why and until when.
func TestDecisionsAndUsers(t *testing.T) {
	f := newFixture()
	f.observing = true
	f.decisions = []decisions.Decision{
		{Kind: decisions.Block, Network: netip.MustParsePrefix("192.0.2.0/24"), By: "kari", Made: at(time.Minute), Until: at(time.Hour), Comment: "bots"},
		{Kind: decisions.Allow, Network: netip.MustParsePrefix("198.51.100.0/24"), By: "kari", Made: start},
		{Kind: decisions.Observe, By: "kari", Made: start},
	}
	got := text(f.explain(t, "192.0.2.0/25"))
	for _, want := range []string{
		"Decisions: Kari has blocked 192.0.2.0/24 at 14:01:00, until 15:00:00: bots.", "verdicts are only observed", "3 known users logged in from 192.0.2.0/25 within the last day",
	} {
		if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "198.51.100.0/24") {
		t.Errorf("got another network's decision in\n%s", got)
	}
	if got := text(f.explain(t, "10.0.0.0/8")); !strings.Contains(got, "too wide") {
		t.Errorf("got no word on a wide network in\n%s", got)
	}
}

// TestManyEvents are counted, and an attack from strangers can be blocked.
func TestManyEvents(t *testing.T) {
	f := newFixture()
	for i := range 60 {
		f.refuse(time.Duration(i)*time.Second, fmt.Sprint("abcdef-", i), fmt.Sprint("192.0.2.", i%3), fmt.Sprint("user", i%7), limiter.RuleSource)
	}
	e := f.explain(t, "192.0.2.0/24")
	check(t, e)
	got := text(e)
	for _, want := range []string{"55 more events are remembered; all 60 are of the accounts user0 (9), user1 (9)", "and 2 others", "$ postern block 192.0.2.0/24 -for 1h"} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
	if len(e.Events) != eventsMax {
		t.Errorf("got %d events, want %d", len(e.Events), eventsMax)
	}
	if got := text(f.explain(t, "USER1")); !strings.Contains(got, "all 9 are from the sources 192.0.2.0 (3), 192.0.2.1 (3), 192.0.2.2 (3)") {
		t.Errorf("got no sources in\n%s", got)
	}
}

// TestNothingTellsThePassword: two attempts that differ only in what is known of the
// password have one explanation.
func TestNothingTellsThePassword(t *testing.T) {
	explain := func(traits limiter.Traits) string {
		f := newFixture()
		f.recent.Attempt(start, proxy.Attempt{
			Session: "abcdef-1", Client: netip.MustParseAddrPort("192.0.2.7:1"), Account: "anna", Traits: traits,
			Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount},
		}, "")
		return text(f.explain(t, "abcdef-1"))
	}
	if right, wrong := explain(limiter.Traits{Worked: true, Compared: true, Credential: 7}), explain(limiter.Traits{Compared: true, Credential: 9}); right != wrong {
		t.Errorf("got\n%s\nwith the right password and\n%s\nwith a wrong one", right, wrong)
	}
}

// FuzzExplain: each question has an answer in clean text, or one line of an error.
func FuzzExplain(f *testing.F) {
	for _, about := range []string{"abcdef-1", "anna", "192.0.2.7", "192.0.2.0/24", "2001:db8::/64", "::/0", "'; rm", "a\x00b", "x/y", "fe80::1%\x1b"} {
		f.Add(about, "anna")
	}
	f.Fuzz(func(t *testing.T, about, account string) {
		fix := newFixture()
		fix.inspect = spent
		fix.refuse(0, "abcdef-1", "192.0.2.7", account, limiter.RulePair)
		e, err := Explain(start, about, fix.sources())
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Fatalf("got the error %q", err)
			}
			return
		}
		if all := text(e) + e.About; strings.ContainsAny(all, "\x1b\x00\r") || len(e.Advice) == 0 {
			t.Fatalf("got %q", all)
		}
	})
}
