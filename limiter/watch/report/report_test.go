package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// TestReport compares the report of an attack with the attempts sent.
func TestReport(t *testing.T) {
	e := playAttack(t)
	r := e.report(t, Internal)
	if r.Phase != incident.Resolved || r.Class != watch.ClassAttack || r.Times.ToDetect <= 0 || r.Times.ToDetect > 120 || r.Times.ToInform != r.Times.ToDetect+30 {
		t.Errorf("%s, %s, times %+v", r.Phase, r.Class, r.Times)
	}
	hours := 0
	for _, h := range r.Volume[1 : len(r.Volume)-1] {
		hours++
		sent := e.sent[h.Start.UTC()]
		if math.Abs(float64(h.Logins-sent)) > 0.02*float64(sent) {
			t.Errorf("%s: %d logins, %d were sent", h.Start, h.Logins, sent)
		}
		if h.Above == nil || h.Start.Hour() == 12 && (*h.Above < 2.5 || *h.Above > 3.5 || h.Failed < 0.7) {
			t.Errorf("%s: %+v", h.Start, h)
		}
	}
	if hours < 3 {
		t.Errorf("only %d whole hours", hours)
	}
	s := r.Sources
	if math.Abs(float64(s.Denials-e.denied)) > 0.1*float64(e.denied) {
		t.Errorf("%d denials, %d were made from 11:00 to 13:00", s.Denials, e.denied)
	}
	if near := float64(s.DistinctNetworks) / float64(s.Denials); near < 0.8 || near > 1.1 {
		t.Errorf("%d networks behind %d denials", s.DistinctNetworks, s.Denials)
	}
	if len(s.Systems) != 1 || s.Systems[0].Share != 1 || s.Networks[0].Name != "198.51.100.0/24" || s.Networks[0].System != 64500 || len(s.Accounts) != topRows {
		t.Errorf("sources: %+v", s)
	}
	if len(s.JA4) != 1 || s.JA4[0].JA4 != botJA4 || s.JA4[0].Denied != 1 || s.JA4[0].Accepted < 0.001 || s.JA4[0].Accepted > 0.01 || s.JA4[0].Networks < 100 {
		t.Errorf("fingerprints: %+v", s.JA4)
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
		e.start.Format("2006-01-02") + " 12:00 CET", "`stolen\\|1'", "AS64500 Example \\| Net", "- TODO: ", "detected: attack", "`198.51.100.0/24` | 41",
		"100.0 % of denials carry one fingerprint, `" + botJA4 + "`, that 0.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a control character was not removed")
	}
}

// TestSystemShares: the shares of autonomous systems are those of their networks, however much each network sends.
func TestSystemShares(t *testing.T) {
	w := watch.New(watch.Config{})
	r := rand.New(rand.NewPCG(6, 6))
	share := map[uint32]float64{1: 0.6, 2: 0.3, 3: 0.1}
	system := func(a netip.Addr) (uint32, string) {
		switch of := a.As4()[1] % 10; {
		case of < 6:
			return 1, "one"
		case of < 9:
			return 2, "two"
		}
		return 3, "three"
	}
	var hours []watch.Hour
	for i := range 4000 {
		now := monday.Add(time.Duration(i) * 2 * time.Second)
		from := netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 8), 1})
		times := 1
		if as, _ := system(from); as == 3 {
			times = 20
		}
		for range times {
			w.Attempt(now, attempt(from.String(), fmt.Sprint(r.IntN(1000)), watch.Attempt{Outcome: watch.Denied}))
		}
		hours = append(hours, w.Tick(now).Hours...)
	}
	s := Subject{Hours: hours, Incident: incident.Incident{Started: monday}, Lookup: system, Location: time.UTC}
	rows := s.systems()
	if len(rows) != 3 || len(hours) != 2 {
		t.Fatalf("got %d systems in %d hours", len(rows), len(hours))
	}
	for _, row := range rows {
		want := share[row.System]
		if chance := math.Sqrt(want * (1 - want) / 400); math.Abs(row.Share-want) > 3*chance {
			t.Errorf("AS%d: got a share of %.3f, want %.3f", row.System, row.Share, want)
		}
	}
}

// TestPublicReport: it has no addresses, no names and no thresholds.
func TestPublicReport(t *testing.T) {
	e := playAttack(t)
	if _, err := e.log.Do(e.now, incident.Command{Action: incident.ActNote, By: "kari", Text: "kari called the bank about 192.0.2.7"}); err == nil {
		t.Fatal("the incident should have ended")
	}
	i, _ := e.log.Find("")
	if _, err := e.log.Do(e.now, incident.Command{Action: incident.ActNote, By: "kari", Text: "called 192.0.2.7", Incident: i.ID}); err != nil {
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
				t.Errorf("%s has %q", name, found)
			}
		}
		if !bytes.Contains(text, []byte("automated login attempts")) || !bytes.Contains(text, []byte("TODO")) && name == "markdown" {
			t.Errorf("%s is incomplete:\n%s", name, text)
		}
	}
	for _, h := range r.Volume {
		if h.Logins != round(h.Logins) || h.Class != "" {
			t.Errorf("not rounded: %+v", h)
		}
	}
}

// TestReportWithoutHistory: an incident opened by a person that has not ended, with an empty history.
func TestReportWithoutHistory(t *testing.T) {
	l, _ := incident.Replay(nil, 0)
	if _, err := l.Do(monday, incident.Command{Action: incident.ActOpen, By: "kari", Class: watch.ClassBackendFault, Text: "disks"}); err != nil {
		t.Fatal(err)
	}
	i, _ := l.Open()
	for _, f := range []Form{Internal, Public} {
		text := string(New(monday.Add(time.Hour), Subject{Incident: i}, f).Markdown())
		if !strings.Contains(text, "It has not ended") || strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
			t.Errorf("%s", text)
		}
	}
}

// TestPlainAndCode: text from clients is escaped.
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
