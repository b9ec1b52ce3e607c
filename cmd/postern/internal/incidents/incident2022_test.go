package incidents

import (
	"encoding/json"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
	"postern/limiter/watch"
	"postern/limiter/watch/report"
)

// site reports generated logins to a Manager, and counts them.
type site struct {
	*Manager
	t         *testing.T
	traffic   *traffic.Generator
	hours     map[time.Time]int // logins reported, by hour
	clock     time.Time
	published time.Time // last status page
}

// runUntil advances the clock to end and does what Run would do, but without a change
// it publishes and delivers only once a minute, to save time.
func (s *site) runUntil(end time.Time) {
	s.t.Helper()
	for {
		next := s.traffic.Next()
		for ; s.clock.Before(next.At) && s.clock.Before(end); s.clock = s.clock.Add(5 * time.Second) {
			s.tick(s.clock)
			due := s.clock.Sub(s.published) >= time.Minute
			select {
			case <-s.changed:
				due = true
			default:
			}
			if due {
				s.published = s.clock
				s.publish(s.clock)
				for _, to := range s.receivers {
					s.deliver(s.t.Context(), s.clock, to)
				}
			}
		}
		if !next.At.Before(end) {
			return
		}
		s.hours[next.At.Truncate(time.Hour)]++
		s.Attempt(next.At, attemptOf(next))
	}
}

// attemptOf returns how a gateway reports a login: users are known, newcomers and
// attackers are not.
func attemptOf(l traffic.Login) watch.Attempt {
	a := watch.Attempt{
		Source: limiter.Source(l.Addr), Network: limiter.Network(l.Addr), Account: l.Account, Outcome: watch.Denied,
		Known: l.Class != traffic.Newcomer && l.Class != traffic.Attacker, Greeting: 100 * time.Millisecond,
	}
	if l.Good() {
		a.Outcome = watch.Accepted
	}
	return a
}

// TestIncidentOfMarch2022 simulates the incident of 29 March 2022: a webhook is
// sent one message at its beginning and one at its end, the status page is updated
// within a minute of the detection, and the report counts every login.
func TestIncidentOfMarch2022(t *testing.T) {
	const quiet = time.Hour
	start := noon
	onset := start.Add(quiet)
	r := newWebhookServer(t)
	m, _ := newManager(t, Config{Dir: t.TempDir(), StatusDir: t.TempDir(), Webhooks: []*url.URL{r.url(t)}})
	m.watch.Assume(start, watch.Signals{Logins: 60, Suspects: 1.8, Networks: 1.8}) // 3 % are newcomers
	s := &site{Manager: m, t: t, traffic: traffic.New(1, 1, start, traffic.Incident(quiet, time.Hour)), hours: map[time.Time]int{}, clock: start, published: start}

	s.runUntil(onset)
	if i, open := m.Open(); open || len(r.bodies) != 0 {
		t.Fatalf("before the attack: incident %+v, messages %q", i, r.alerts(t))
	}
	s.runUntil(onset.Add(20 * time.Minute))
	i, _ := m.Open()
	updates := m.notificationsTo(publicRecipient, i.ID)
	if got := strings.Join(r.alerts(t), ", "); got != "firing attack" || i.Detected.Sub(onset) > 10*time.Minute || len(updates) == 0 || updates[0].Time.Sub(i.Detected) > time.Minute {
		t.Fatalf("messages %q; detected after %v; updates %+v", got, i.Detected.Sub(onset), updates)
	}
	s.runUntil(onset.Add(9 * time.Hour))
	if got := strings.Join(r.alerts(t), ", "); strings.Count(got, "resolved") != 1 || !strings.HasSuffix(got, "resolved attack") {
		t.Errorf("got messages %q", got)
	}
	checkUpdates(t, m, i.ID)
	s.checkReport(i.ID)
	text, err := os.ReadFile(filepath.Join(m.config.StatusDir, "feed.atom"))
	if entries := strings.Count(string(text), "<entry>"); err != nil || entries < 10 || !strings.Contains(string(text), "attempts: resolved") {
		t.Errorf("%d entries in the feed, %v", entries, err)
	}
}

// checkUpdates fails if an update was published later than the one before had
// announced, or if the last one does not resolve the incident.
func checkUpdates(t *testing.T, m *Manager, id string) {
	t.Helper()
	updates := m.notificationsTo(publicRecipient, id)
	for n, u := range updates[1:] {
		if announced := updates[n].NextUpdate; u.Time.After(announced) {
			t.Errorf("update at %v, announced for %v", u.Time, announced)
		}
	}
	if last := updates[len(updates)-1]; last.Stage != "resolved" {
		t.Errorf("last update %+v, want stage resolved", last)
	}
}

// checkReport compares the report's table with the logins reported.
func (s *site) checkReport(id string) {
	s.t.Helper()
	r, err := s.Report(s.clock, id, report.Internal, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(r.Volume) < 6 {
		s.t.Fatalf("%d hours in %+v", len(r.Volume), r.Volume)
	}
	for _, row := range r.Volume[1 : len(r.Volume)-1] { // the first and last hour are incomplete
		if sent := s.hours[row.Start.UTC()]; math.Abs(float64(row.Logins-sent)) > .02*float64(sent) {
			s.t.Errorf("%v: %d logins in the report, %d sent", row.Start, row.Logins, sent)
		}
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"incident":"`+id) {
		s.t.Errorf("%v in %s", err, text)
	}
}
