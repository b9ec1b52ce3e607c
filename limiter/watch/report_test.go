package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An evening is a small service that is attacked from 11:00 to 13:00, with what a caller would have kept of it.
type evening struct {
	*world
	incidents *Incidents
	history   *History
	then      time.Time         // when the attack begins
	sent      map[time.Time]int // attempts by the hour
	denied    int               // attempts of strangers from 11:00 to 13:00
	stolen    []string          // accounts the attack got in with
}

// playEvening plays the Tuesday after what is learned, from 09:00 to 17:00.
func playEvening(t *testing.T) *evening {
	t.Helper()
	snapshot, then := learned(42, 2)
	start := then.Add(eleven)
	e := &evening{world: newWorld(43, 2, start.Add(-2*time.Hour), oslo), history: NewHistory(), then: start, sent: map[time.Time]int{}}
	e.incidents, _ = Replay(nil, 30*time.Second)
	e.full = true
	if err := e.Restore(e.now, snapshot); err != nil {
		t.Fatal(err)
	}
	e.scenes = []scene{{start, func(w *world, since time.Duration, p *plan) {
		if since < 2*time.Hour {
			p.attack = 3 * w.normal()
		}
	}}}
	for e.now.Before(start.Add(6 * time.Hour)) {
		if e.now.Equal(start.Add(90 * time.Minute)) {
			e.breakIn()
		}
		before := e.counts
		e.play(e.plan())
		made := e.counts.known.All() + e.counts.stranger.All() - before.known.All() - before.stranger.All()
		e.sent[hourOf(e.now)] += made
		if since := e.now.Sub(start); since >= 0 && since < 2*time.Hour {
			e.denied += e.counts.stranger.Denied
		}
		e.now = e.now.Add(tick)
		r := e.Tick(e.now)
		for _, m := range r.Minutes {
			e.history.AddMinute(m)
		}
		for _, h := range r.Hours {
			e.history.AddHour(h)
		}
		if r.Ticked {
			e.incidents.Observe(r.State)
		}
	}
	return e
}

// breakIn lets the attack in with three passwords, and tells of waits and refusals.
func (e *evening) breakIn() {
	source, network := from("198.51.100.77")
	for n := range 5 {
		e.Attempt(e.now, Attempt{Source: source, Network: network, Account: fmt.Sprintf("victim%d", n), Outcome: Denied})
	}
	for n := range 3 {
		name := fmt.Sprintf("Stolen|%d`\x1b[31m", n)
		e.stolen = append(e.stolen, fmt.Sprintf("stolen|%d`\x1b[31m", n))
		e.Attempt(e.now, Attempt{Source: source, Network: network, Account: name, Outcome: Accepted, Known: true})
	}
	for n := range 40 {
		a := Attempt{Source: source, Network: network, Account: "x", Outcome: Rejected, Rule: "pair"}
		if n%10 == 0 {
			a = Attempt{Source: source, Network: network, Account: "x", Outcome: Accepted, Usual: true, Known: true, Rule: "global", Waited: time.Second, Greeting: time.Second}
		}
		e.Attempt(e.now, a)
	}
}

// report returns the report of the one incident.
func (e *evening) report(t *testing.T, f Form) *Report {
	t.Helper()
	i, ok := e.incidents.Find("")
	if !ok || len(e.incidents.All()) != 1 {
		t.Fatalf("%d incidents", len(e.incidents.All()))
	}
	from, to := i.Span(e.now)
	return NewReport(e.now, Subject{
		Incident: i, Minutes: e.history.Minutes(from, to), Hours: e.history.Hours(from, to), Location: e.location,
		Lookup: func(netip.Addr) (uint32, string) { return 64500, "Example | Net" },
	}, f)
}

// TestReport draws up the report of an attack and holds it to what was sent.
func TestReport(t *testing.T) {
	e := playEvening(t)
	r := e.report(t, Internal)
	if r.Phase != Resolved || r.Class != ClassAttack || r.Times.ToDetect <= 0 || r.Times.ToDetect > 120 || r.Times.ToInform != r.Times.ToDetect+30 {
		t.Errorf("%s, %s, times %+v", r.Phase, r.Class, r.Times)
	}
	whole := 0
	for _, h := range r.Volume[1 : len(r.Volume)-1] {
		whole++
		sent := e.sent[h.Start.UTC()]
		if math.Abs(float64(h.Logins-sent)) > 0.02*float64(sent) {
			t.Errorf("%s: %d logins, %d were sent", h.Start, h.Logins, sent)
		}
		if h.Above == nil || h.Start.Hour() == 12 && (*h.Above < 2.5 || *h.Above > 3.5 || h.Failed < 0.7) {
			t.Errorf("%s: %+v", h.Start, h)
		}
	}
	if whole < 3 {
		t.Errorf("only %d whole hours", whole)
	}
	s := r.Sources
	if math.Abs(float64(s.Denials-e.denied)) > 0.1*float64(e.denied) {
		t.Errorf("%d denials, %d were made from 11:00 to 13:00", s.Denials, e.denied)
	}
	if near := float64(s.DistinctNetworks) / float64(s.Denials); near < 0.8 || near > 1.1 {
		t.Errorf("%d networks behind %d denials", s.DistinctNetworks, s.Denials)
	}
	if len(s.Systems) != 1 || s.Systems[0].Share != 1 || s.Networks[0].Name != "198.51.100.0/24" || s.Networks[0].System != 64500 || len(s.Accounts) != reportTop {
		t.Errorf("sources: %+v", s)
	}
	if r.Resets.Count != 3 || r.Resets.Accounts[0].Account != e.stolen[0] {
		t.Errorf("to reset: %+v", r.Resets)
	}
	if c := r.Checks; c.Refused != 36 || c.KnownWaited != 4 || len(c.Rules) != 2 {
		t.Errorf("checks: %+v", c)
	}
	if r.Users.Ratio != 1 || r.Users.Asked < 5000 || r.Users.Greeting == 0 {
		t.Errorf("users: %+v", r.Users)
	}
	text := string(r.Markdown())
	for _, want := range []string{
		e.then.Format("2006-01-02") + " 12:00 CET", "`stolen\\|1'", "AS64500 Example \\| Net", "- TODO: ", "detected: attack", "`198.51.100.0/24` | 41",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a control character came through")
	}
}

// TestPublicReport: nothing in it tells who, whom or from what limit on.
func TestPublicReport(t *testing.T) {
	e := playEvening(t)
	if _, err := e.incidents.Do(e.now, Command{Action: ActNote, By: "kari", Text: "kari called the bank about 192.0.2.7"}); err == nil {
		t.Fatal("the incident should be over")
	}
	i, _ := e.incidents.Find("")
	if _, err := e.incidents.Do(e.now, Command{Action: ActNote, By: "kari", Text: "called 192.0.2.7", Incident: i.ID}); err != nil {
		t.Fatal(err)
	}
	r := e.report(t, Public)
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"markdown": r.Markdown(), "JSON": line} {
		for _, secret := range []string{
			`\d+\.\d+\.\d+\.\d+`, "victim", "stolen", "kari", "AS64500", "excess", "score", "pair", "4\\.5 %", "suspect", "threshold",
		} {
			if found := regexp.MustCompile("(?i)" + secret).Find(text); found != nil {
				t.Errorf("%s tells %q", name, found)
			}
		}
		if !bytes.Contains(text, []byte("automated login attempts")) || !bytes.Contains(text, []byte("TODO")) && name == "markdown" {
			t.Errorf("%s says nothing:\n%s", name, text)
		}
	}
	for _, h := range r.Volume {
		if h.Logins != round(h.Logins) || h.Class != "" {
			t.Errorf("not rounded: %+v", h)
		}
	}
}

// TestReportOfNothing: an incident that people opened, with nothing in the history, and one that goes on.
func TestReportOfNothing(t *testing.T) {
	n, _ := Replay(nil, 0)
	if _, err := n.Do(monday, Command{Action: ActOpen, By: "kari", Class: ClassBackendFault, Text: "disks"}); err != nil {
		t.Fatal(err)
	}
	i, _ := n.Open()
	for _, f := range []Form{Internal, Public} {
		text := string(NewReport(monday.Add(time.Hour), Subject{Incident: i}, f).Markdown())
		if !strings.Contains(text, "It goes on") || strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
			t.Errorf("%s", text)
		}
	}
}

// TestPlainAndCode: what a client sent cannot become markup.
func TestPlainAndCode(t *testing.T) {
	for in, want := range map[string][2]string{
		"a|b":                   {`a\|b`, "`a\\|b`"},
		"`x` <b>\n# y":          {"\\`x\\` \\<b\\> \\# y", "`'x' <b> # y`"},
		"\u202egnp\x00":         {"\uFFFDgnp\uFFFD", "`\uFFFDgnp\uFFFD`"},
		"[a](http://x) ![i](j)": {`\[a\](http://x) \!\[i\](j)`, "`[a](http://x) ![i](j)`"},
	} {
		if got := [2]string{plain(in), code(in)}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
