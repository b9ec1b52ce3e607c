package incidents

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// users is what a hundred known users met.
func users(good int) watch.Users { return watch.Users{Good: good, Limited: 100 - good} }

// TestNextUpdate follows one incident as the public hears of it.
func TestNextUpdate(t *testing.T) {
	i := incident.Incident{ID: "i1", Class: watch.ClassAttack, Phase: incident.Detected, Started: at(-5)}
	var before []told
	for _, step := range []struct {
		name   string
		minute float64
		change func()
		good   int
		stage  statuspage.Stage // empty if nothing is said
		impact statuspage.Impact
		says   string
	}{
		{"not public yet", 0, func() {}, 100, "", "", ""},
		{"public", 1, func() { i.Phase, i.Published = incident.Investigating, at(1) }, 100, statuspage.Investigating, statuspage.ImpactNone,
			"Since 13:55 CEST we see an unusually large number of automated login attempts on IMAP and POP. Logging in works as usual for everybody, as far as we can see. No mail is lost. We are working on it. Next update by 14:31 CEST."},
		{"no news", 2, func() {}, 99, "", "", ""},
		{"worse", 3, func() {}, 96, statuspage.Investigating, statuspage.ImpactMinor, "Some logins may be slow or need a second try."},
		{"better is no news", 4, func() {}, 100, "", "", ""},
		{"the promise is kept early", 32, func() {}, 100, statuspage.Investigating, statuspage.ImpactNone, "We are still working on"},
		{"served again", 40, func() { i.Phase = incident.Mitigating }, 100, statuspage.Identified, statuspage.ImpactNone, "go on. Protection is active."},
		{"the promise is kept late", 400, func() {}, 100, statuspage.Identified, statuspage.ImpactNone, "Protection is active."},
		{"words of an operator", 401, func() {
			i.Events = append(i.Events, incident.Event{Time: at(400.5), Kind: incident.KindPublish, Text: "We have called <help>. "})
		}, 100, statuspage.Identified, statuspage.ImpactNone, "We have called <help>. Next update by 21:11 CEST."},
		{"said once", 402, func() {}, 100, "", "", ""},
		{"over for now", 410, func() { i.Phase = incident.Monitoring }, 100, statuspage.Monitoring, statuspage.ImpactNone, "over for now"},
		{"backends fail later", 420, func() { i.Phase = incident.Investigating }, 40, statuspage.Investigating, statuspage.ImpactCritical, "Most logins fail at the moment."},
		{"over", 500, func() { i.Phase, i.Ended = incident.Resolved, at(500) }, 50, statuspage.Resolved, statuspage.ImpactNone,
			"The automated login attempts that began at 13:55 CEST are over. Logging in works as usual."},
		{"nothing after that", 900, func() {}, 10, "", "", ""},
	} {
		step.change()
		next, said := nextUpdate(at(step.minute), i, users(step.good), before, cest)
		switch {
		case said != (step.stage != ""):
			t.Errorf("%s: says %+v", step.name, next)
		case said && (next.Stage != step.stage || next.Impact != step.impact || !strings.Contains(next.Body, step.says)):
			t.Errorf("%s: got %s, %s, %q", step.name, next.Stage, next.Impact, next.Body)
		}
		if said {
			before = append(before, next)
		}
	}
	i.False, i.Events = true, nil
	if next, _ := nextUpdate(at(501), i, users(100), before[:1], cest); !strings.Contains(next.Body, "nothing was wrong") {
		t.Errorf("a false alarm: %q", next.Body)
	}
}

// TestWords reads every text the public may be shown: calm, complete, without
// numbers other than times, and none of it empty.
func TestWords(t *testing.T) {
	clockTime := regexp.MustCompile(`\d\d:\d\d CEST( on \d+ [A-Z][a-z]+)?`)
	for _, class := range watch.Classes() {
		for _, phase := range incident.Phases() {
			for _, good := range []int{0, 60, 97, 100} {
				for _, again := range []bool{false, true} {
					i := incident.Incident{ID: "i1", Class: class, Phase: phase, Started: at(-2000), Published: at(0), Peak: incident.Evidence{Excess: 3.27}}
					var before []told
					if again {
						before = []told{{Class: class, Stage: stageOf(phase), Promised: at(0), Impact: statuspage.ImpactCritical}}
					}
					next, said := nextUpdate(at(1), i, users(good), before, cest)
					if again && next.Stage == "" {
						continue
					}
					rest := clockTime.ReplaceAllString(next.Body, "then")
					if !said || next.Title == "" || regexp.MustCompile(`[0-9%!]|postern|  |\.\.`).MatchString(rest) || rest[0] < 'A' || rest[0] > 'Z' || !strings.HasSuffix(rest, ".") {
						t.Errorf("%s, %s, %d served: %q, %q", class, phase, good, next.Title, next.Body)
					}
				}
			}
		}
	}
}

// TestImpact: few users say little, and what they met is told in four steps.
func TestImpact(t *testing.T) {
	for _, tt := range []struct {
		class watch.Class
		users watch.Users
		want  statuspage.Impact
	}{
		{watch.ClassAttack, users(100), statuspage.ImpactNone},
		{watch.ClassAttack, users(99), statuspage.ImpactNone},
		{watch.ClassAttack, users(98), statuspage.ImpactMinor},
		{watch.ClassAttack, users(95), statuspage.ImpactMinor},
		{watch.ClassAttack, users(94), statuspage.ImpactMajor},
		{watch.ClassAttack, users(49), statuspage.ImpactCritical},
		{watch.ClassAttack, watch.Users{Fault: 19}, statuspage.ImpactNone},
		{watch.ClassAuthFault, watch.Users{Good: 60, Denied: 40}, statuspage.ImpactMajor},
		{watch.ClassAuthFault, watch.Users{}, statuspage.ImpactMinor},
		{watch.ClassAttack, watch.Users{Good: 60, Denied: 40}, statuspage.ImpactNone},
		{watch.ClassBackendFault, watch.Users{Fault: 19}, statuspage.ImpactMinor},
		{watch.ClassBackendFault, watch.Users{Fault: 20}, statuspage.ImpactCritical},
	} {
		if got := impactOf(tt.class, tt.users); got != tt.want {
			t.Errorf("%s, %+v: got %s, want %s", tt.class, tt.users, got, tt.want)
		}
	}
}

// TestPage: what is shown is what was said; parts that nobody can use are out
// whatever was said.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	l, _ := newLookout(t, Config{StatusDir: dir})
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAuthFault, Text: "secret"})
	l.publish(at(0))
	if p := l.page(at(0)); len(p.Incidents) != 0 || p.Components[0].State != statuspage.Operational || p.Components[1].State != statuspage.Major {
		t.Errorf("before it is public: %+v", p)
	}
	do(t, l, at(1), incident.Command{Action: incident.ActPublish, Text: "We look."})
	l.publish(at(1))
	do(t, l, at(2), incident.Command{Action: incident.ActResolve})
	p := l.page(at(2.5))
	if len(p.Incidents) != 1 || p.Components[0].State != statuspage.Degraded || p.Checked != at(2) {
		t.Fatalf("got %+v", p)
	}
	if i := p.Incidents[0]; i.Impact != statuspage.ImpactMinor || !i.Open() || i.Updates[0].Body != "We look. Next update by 14:31 CEST." || i.Promised != at(31) {
		t.Errorf("got %+v", i)
	}
	l.publish(at(3))
	if i := l.page(at(3)).Incidents[0]; i.Open() || i.Impact != statuspage.ImpactMinor || len(i.Updates) != 2 || !i.Promised.IsZero() {
		t.Errorf("once it is over: %+v", i)
	}
	text, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "anna") {
		t.Errorf("the page tells too much: %s, %v", text, err)
	}
	if s := l.Stats(); s.Published.OK != 3 || s.Written != at(3) {
		t.Errorf("counted %+v", s)
	}
}

// TestPublicByItself: after the hold, unless there is no page that the public
// could read.
func TestPublicByItself(t *testing.T) {
	for dir, want := range map[string]bool{"": false, t.TempDir(): true} {
		l, _ := newLookout(t, Config{StatusDir: dir})
		do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
		l.incidents.Observe(watch.State{Time: at(5), Class: watch.ClassAttack})
		if i, _ := l.Open(); i.Public() != want {
			t.Errorf("in %q: %+v", dir, i)
		}
	}
}
