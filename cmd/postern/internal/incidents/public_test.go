package incidents

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// users counts 100 attempts by known users, of which good were served.
func users(good int) watch.Users { return watch.Users{Good: good, Limited: 100 - good} }

// TestNextUpdate follows the updates on one incident.
func TestNextUpdate(t *testing.T) {
	i := incident.Incident{ID: "i1", Class: watch.ClassAttack, Phase: incident.Detected, Started: at(-5), Since: at(-5)}
	var before []notification
	for _, step := range []struct {
		name   string
		minute float64
		change func()
		good   int
		stage  statuspage.Stage // empty if no update is due
		impact statuspage.Impact
		body   string
	}{
		{"not public yet", 0, func() {}, 100, "", "", ""},
		{"public", 1, func() { i.Phase, i.Published = incident.Investigating, at(1) }, 100, statuspage.Investigating, statuspage.ImpactNone,
			"Since 13:55 CEST, we have been seeing an unusually large number of automated login attempts on IMAP and POP. Logging in works as usual for everybody, as far as we can see. No mail is lost. We are working on it. Next update by 14:31 CEST."},
		{"no change", 2, func() {}, 99, "", "", ""},
		{"worse", 3, func() {}, 96, statuspage.Investigating, statuspage.ImpactMinor, "Some logins may be slow or need a second try."},
		{"better", 4, func() {}, 100, "", "", ""},
		{"shortly before the announced time", 32, func() {}, 100, statuspage.Investigating, statuspage.ImpactNone, "We are still working on"},
		{"served again", 40, func() { i.Phase = incident.Mitigating }, 100, statuspage.Identified, statuspage.ImpactNone, "continue. Protection is active."},
		{"long after the announced time", 400, func() {}, 100, statuspage.Identified, statuspage.ImpactNone, "Protection is active."},
		{"text of an operator", 401, func() {
			i.Events = append(i.Events, incident.Event{Time: at(400.5), Kind: incident.KindPublish, Text: "We have called <help>. "})
		}, 100, statuspage.Identified, statuspage.ImpactNone, "We have called <help>. Next update by 21:11 CEST."},
		{"operator's text is published once", 402, func() {}, 100, "", "", ""},
		{"over for now", 410, func() { i.Phase = incident.Monitoring }, 100, statuspage.Monitoring, statuspage.ImpactNone, "over for now"},
		{"backends fail later", 420, func() { i.Phase = incident.Investigating }, 40, statuspage.Investigating, statuspage.ImpactCritical, "Most logins are currently failing."},
		{"over", 500, func() { i.Phase, i.Ended = incident.Resolved, at(500) }, 50, statuspage.Resolved, statuspage.ImpactNone,
			"The automated login attempts that began at 13:55 CEST are over. Logging in works as usual."},
		{"nothing after the end", 900, func() {}, 10, "", "", ""},
	} {
		step.change()
		next, due := nextUpdate(at(step.minute), i, users(step.good), before, cest)
		switch {
		case due != (step.stage != ""):
			t.Errorf("%s: got due %v, %+v", step.name, due, next)
		case due && (next.Stage != step.stage || next.Impact != step.impact || !strings.Contains(next.Body, step.body)):
			t.Errorf("%s: got %s, %s, %q", step.name, next.Stage, next.Impact, next.Body)
		}
		if due {
			before = append(before, next)
		}
	}
	i.False, i.Events = true, nil
	if next, _ := nextUpdate(at(501), i, users(100), before[:1], cest); !strings.Contains(next.Body, "nothing was wrong") {
		t.Errorf("a false alarm: %q", next.Body)
	}
}

// TestClosedWhileOn: an incident that an operator closes while it is on is not
// shown as resolved before it is over.
func TestClosedWhileOn(t *testing.T) {
	m, log := newManager(t, Config{StatusDir: t.TempDir()})
	state := watch.State{Class: watch.ClassAttack, Tighten: true, Users: users(100)}
	clock := at(0)
	observe := func(minutes int, s watch.State) {
		for end := clock.Add(time.Duration(minutes) * time.Minute); clock.Before(end); {
			clock = clock.Add(10 * time.Second)
			s.Time = clock
			m.saveEvents(clock, m.incidents.Observe(s))
		}
		m.publish(clock)
	}
	observe(10, state)
	if _, err := m.Do(clock, incident.Command{Action: incident.ActResolve, By: "anna"}); !errors.Is(err, incident.ErrStillOn) {
		t.Fatalf("got %v", err)
	}
	do(t, m, clock, incident.Command{Action: incident.ActResolve, Force: true})
	for range 3 {
		observe(20, state)
		i := m.page(clock).Incidents[0]
		if last := i.Updates[0].Body; !i.Open() || i.Stage() != statuspage.Monitoring || i.NextUpdate.Before(clock) || !strings.HasPrefix(last, "We continue to observe the automated login attempts that began at 14:00 CEST.") {
			t.Errorf("while on: %s, %q", i.Stage(), last)
		}
	}
	if text := m.summary(clock, m.All()[0], watch.ClassAttack); !strings.Contains(text, "it is not over") {
		t.Errorf("alert %q", text)
	}
	observe(10, watch.State{Class: watch.ClassNormal})
	if i := m.page(clock).Incidents[0]; i.Open() || !strings.Contains(i.Updates[0].Body, "are over. Logging in works as usual.") {
		t.Errorf("after the end: %+v", i)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings in\n%s", n, log)
	}
}

// TestAlertBeforeFirstTick has no zero times and no zero figures; later ones name
// the time that their figures cover.
func TestAlertBeforeFirstTick(t *testing.T) {
	m, _ := newManager(t, Config{})
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAccountAbuse})
	i, _ := m.Open()
	want := "Many accounts used far more than is their habit since 14:00 CEST. There are no figures yet: postern has just started."
	if got := m.summary(at(0), i, i.Class); got != want {
		t.Errorf("got %q", got)
	}
	m.state = watch.State{Time: at(1), Class: watch.ClassAccountAbuse, Abused: 900, AccountAbuse: true, Observed: watch.Signals{Logins: 60}, Users: users(97)}
	m.incidents.Observe(m.state)
	want = "Many accounts used far more than is their habit since 14:00 CEST: over 1 min, 60 logins a minute (expected: 0), 0 of them from strangers with wrong passwords. " +
		"Known users: 97.0 % served over 5 min. In the last hour, 900 accounts were used far more than is their habit."
	if got := m.summary(at(1), i, i.Class); got != want {
		t.Errorf("got %q", got)
	}
	do(t, m, at(2), incident.Command{Action: incident.ActReclassify, Class: watch.ClassStorm})
	i, _ = m.Open()
	want = "Many accounts used far more than is their habit since 14:00 CEST: this incident now has another class, reconnect storm since 14:00 CEST."
	if got := m.summary(at(2), i, watch.ClassAccountAbuse); got != want {
		t.Errorf("got %q", got)
	}
	for _, class := range watch.Classes() {
		if advice(class) == "" || className(class) == "" {
			t.Errorf("%s: no text", class)
		}
	}
}

// TestPublicTexts: every text for the public is complete and contains no numbers
// except times.
func TestPublicTexts(t *testing.T) {
	clockTime := regexp.MustCompile(`\d\d:\d\d CEST( on \d+ [A-Z][a-z]+)?`)
	for _, class := range watch.Classes() {
		for _, phase := range incident.Phases() {
			for _, good := range []int{0, 60, 97, 100} {
				for _, again := range []bool{false, true} {
					i := incident.Incident{ID: "i1", Class: class, Phase: phase, Started: at(-2000), Since: at(-2000), Published: at(0), Peak: incident.Evidence{Excess: 3.27}}
					var before []notification
					if again {
						before = []notification{{Class: class, Stage: stageOf(i), NextUpdate: at(0), Impact: statuspage.ImpactCritical}}
					}
					next, due := nextUpdate(at(1), i, users(good), before, cest)
					if again && next.Stage == "" {
						continue
					}
					rest := clockTime.ReplaceAllString(next.Body, "then")
					if !due || next.Title == "" || regexp.MustCompile(`[0-9%!]|postern|  |\.\.`).MatchString(rest) || rest[0] < 'A' || rest[0] > 'Z' || !strings.HasSuffix(rest, ".") {
						t.Errorf("%s, %s, %d served: %q, %q", class, phase, good, next.Title, next.Body)
					}
				}
			}
		}
	}
}

// TestImpact: the impact has four levels, and needs a minimum of attempts.
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

// TestPage: the page shows what was published. A component that is down is shown
// as an outage without any incident.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	m, _ := newManager(t, Config{StatusDir: dir})
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAuthFault, Text: "secret"})
	m.publish(at(0))
	if p := m.page(at(0)); len(p.Incidents) != 0 || p.Components[0].State != statuspage.Operational || p.Components[1].State != statuspage.Major {
		t.Errorf("before it is public: got %+v", p)
	}
	do(t, m, at(1), incident.Command{Action: incident.ActPublish, Text: "We are looking."})
	m.publish(at(1))
	do(t, m, at(2), incident.Command{Action: incident.ActResolve})
	p := m.page(at(2.5))
	if len(p.Incidents) != 1 || p.Components[0].State != statuspage.Degraded || p.Checked != at(2) {
		t.Fatalf("got %+v", p)
	}
	if i := p.Incidents[0]; i.Impact != statuspage.ImpactMinor || !i.Open() || i.Updates[0].Body != "We are looking. Next update by 14:31 CEST." || i.NextUpdate != at(31) {
		t.Errorf("got %+v", i)
	}
	m.publish(at(3))
	if i := m.page(at(3)).Incidents[0]; i.Open() || i.Impact != statuspage.ImpactMinor || len(i.Updates) != 2 || !i.NextUpdate.IsZero() {
		t.Errorf("after the end: got %+v", i)
	}
	text, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "anna") {
		t.Errorf("the page contains internal text: %s, %v", text, err)
	}
	if s := m.Stats(); s.Published.OK != 3 || s.Written != at(3) {
		t.Errorf("counted %+v", s)
	}
}

// TestAutoPublish: an incident becomes public after the hold, if there is a status
// page.
func TestAutoPublish(t *testing.T) {
	for dir, want := range map[string]bool{"": false, t.TempDir(): true} {
		m, _ := newManager(t, Config{StatusDir: dir})
		do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
		m.incidents.Observe(watch.State{Time: at(5), Class: watch.ClassAttack})
		if i, _ := m.Open(); i.Public() != want {
			t.Errorf("in %q: %+v", dir, i)
		}
	}
}
