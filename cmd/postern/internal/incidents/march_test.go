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

// site tells a Lookout of the logins of a crowd, and counts them.
type site struct {
	*Lookout
	t      *testing.T
	crowd  *traffic.Generator
	hours  map[time.Time]int // logins that were told, by the hour
	clock  time.Time
	looked time.Time
}

// until lets the time pass up to a moment, with everything that Run would do.
func (s *site) until(end time.Time) {
	s.t.Helper()
	for {
		next := s.crowd.Next()
		for ; s.clock.Before(next.At) && s.clock.Before(end); s.clock = s.clock.Add(5 * time.Second) {
			s.tick(s.clock)
			if s.clock.Sub(s.looked) >= 30*time.Second {
				s.looked = s.clock
				s.publish(s.clock)
				for _, to := range s.targets {
					s.deliver(s.t.Context(), s.clock, to)
				}
			}
		}
		if !next.At.Before(end) {
			return
		}
		s.hours[next.At.Truncate(time.Hour)]++
		s.Attempt(next.At, seenAs(next))
	}
}

// seenAs is what a gate sees of a login: the people are known, newcomers and
// attackers are not.
func seenAs(l traffic.Login) watch.Attempt {
	a := watch.Attempt{
		Source: limiter.Source(l.Addr), Network: limiter.Network(l.Addr), Account: l.Account, Outcome: watch.Denied,
		Known: l.Class != traffic.Newcomer && l.Class != traffic.Attacker, Greeting: 100 * time.Millisecond,
	}
	if l.Good() {
		a.Outcome = watch.Accepted
	}
	return a
}

// TestMarch plays the day of 29 March 2022: people are told once that
// it begins and once that it is over, the public within a minute of the former,
// and the report has every login in its hour.
func TestMarch(t *testing.T) {
	const quiet = time.Hour
	start := noon
	onset := start.Add(quiet)
	r := newReceiver(t)
	l, _ := newLookout(t, Config{Dir: t.TempDir(), StatusDir: t.TempDir(), Webhooks: []*url.URL{r.url(t)}})
	l.watch.Assume(start, watch.Signals{Logins: 60, Suspects: 1.8, Networks: 1.8}) // three of a hundred are newcomers
	s := &site{Lookout: l, t: t, crowd: traffic.New(1, 1, start, traffic.Incident(quiet, time.Hour)), hours: map[time.Time]int{}, clock: start, looked: start}

	s.until(onset)
	if i, open := l.Open(); open || len(r.bodies) != 0 {
		t.Fatalf("before the attack: %+v, told %q", i, r.told(t))
	}
	s.until(onset.Add(20 * time.Minute))
	i, _ := l.Open()
	said := l.toldTo(public, i.ID)
	if got := strings.Join(r.told(t), ", "); got != "firing attack" || i.Detected.Sub(onset) > 10*time.Minute || len(said) == 0 || said[0].Time.Sub(i.Detected) > time.Minute {
		t.Fatalf("told %q; detected after %v; the public was told %+v", got, i.Detected.Sub(onset), said)
	}
	s.until(onset.Add(9 * time.Hour))
	if got := strings.Join(r.told(t), ", "); strings.Count(got, "resolved") != 1 || !strings.HasSuffix(got, "resolved attack") {
		t.Errorf("told %q", got)
	}
	keptPromises(t, l, i.ID)
	s.checkReport(i.ID)
	text, err := os.ReadFile(filepath.Join(l.config.StatusDir, "feed.atom"))
	if entries := strings.Count(string(text), "<entry>"); err != nil || entries < 10 || !strings.Contains(string(text), "attempts: resolved") {
		t.Errorf("%d entries in the feed, %v", entries, err)
	}
}

// keptPromises fails if the public was ever told later than it had been
// promised, or if the incident has not been called resolved.
func keptPromises(t *testing.T, l *Lookout, id string) {
	t.Helper()
	said := l.toldTo(public, id)
	for n, s := range said[1:] {
		if promised := said[n].Promised; s.Time.After(promised) {
			t.Errorf("promised for %v, said at %v", promised, s.Time)
		}
	}
	if last := said[len(said)-1]; last.Stage != "resolved" {
		t.Errorf("the last word is %+v", last)
	}
}

// checkReport compares the report's table with what was told.
func (s *site) checkReport(id string) {
	s.t.Helper()
	r, err := s.Report(s.clock, id, report.Internal, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(r.Volume) < 6 {
		s.t.Fatalf("%d hours in %+v", len(r.Volume), r.Volume)
	}
	for _, row := range r.Volume[1 : len(r.Volume)-1] { // the first and last are cut
		if sent := s.hours[row.Start.UTC()]; math.Abs(float64(row.Logins-sent)) > .02*float64(sent) {
			s.t.Errorf("%v: %d logins in the report, %d sent", row.Start, row.Logins, sent)
		}
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"incident":"`+id) {
		s.t.Errorf("%v in %s", err, text)
	}
}
