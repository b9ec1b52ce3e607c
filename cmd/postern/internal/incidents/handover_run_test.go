package incidents

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// generation is a process with a Manager that runs.
type generation struct {
	*Manager
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// start runs the Manager.
func (g *generation) start() {
	ctx, cancel := context.WithCancelCause(context.Background())
	g.cancel, g.ended = cancel, make(chan struct{})
	go func() {
		defer close(g.ended)
		g.Run(ctx)
	}()
}

// stop ends Run for a reason.
func (g *generation) stop(why error) {
	g.cancel(why)
	<-g.ended
}

// login reports a login.
func (g *generation) login() {
	network := netip.MustParsePrefix("192.0.2.0/24")
	g.Attempt(time.Now(), watch.Attempt{Source: network, Network: network, Account: "anna", Known: true, Outcome: watch.Accepted, Rule: "source", Waited: time.Second})
}

// forwarded collects what a process forwards.
type forwarded struct {
	mu   sync.Mutex
	data []byte
}

// add encodes one observation.
func (f *forwarded) add(o Observation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = o.AppendTo(f.data)
}

// into gives all of them to a Manager.
func (f *forwarded) into(t *testing.T, m *Manager) {
	t.Helper()
	for len(f.data) > 0 {
		o, rest, err := ParseObservation(f.data)
		if err != nil {
			t.Fatal(err)
		}
		m.Observe(time.Now(), o)
		f.data = rest
	}
}

// lines returns the history in the state directory, as minutes and hours, each line by
// itself.
func lines(t *testing.T, dir string) (minutes []watch.Minute, hours []watch.Hour) {
	t.Helper()
	for path, text := range files(t, filepath.Join(dir, historyDir)) {
		if skipped := parseLines([]byte(text), func(l historyLine) {
			if l.Minute != nil {
				minutes = append(minutes, *l.Minute)
			}
			if l.Hour != nil {
				hours = append(hours, *l.Hour)
			}
		}); skipped > 0 {
			t.Errorf("%s: %d lines skipped", path, skipped)
		}
	}
	return minutes, hours
}

// TestHandOverWhileRunning: the former process stops, exports and forwards; the next one
// goes on. In between, and when a hand-over fails, no observation is lost or counted twice,
// each minute has one line, and only a common end saves the minute that is not over.
func TestHandOverWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Dir: t.TempDir(), Location: time.UTC, Log: discard, Components: func() []Component { return nil }}
		m, err := New(time.Now(), c)
		if err != nil {
			t.Fatal(err)
		}
		g := &generation{Manager: m}
		g.start()
		sent := 0
		logins := func(seconds int) {
			for range seconds {
				g.login()
				sent++
				<-time.After(time.Second)
			}
		}
		logins(90)
		for n := range 6 {
			var queue forwarded
			g.stop(ErrHandOver)
			g.Forward(queue.add)
			g.login()
			g.Closed(time.Now())
			sent++
			data, err := g.Export(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 { // it fails
				g.Forward(nil)
			} else {
				c.Former = data
				if g.Manager, err = New(time.Now(), c); err != nil {
					t.Fatal(err)
				}
			}
			queue.into(t, g.Manager)
			g.start()
			logins(45)
		}
		g.stop(context.Canceled)
		checkHistory(t, g.Manager, sent, 6)
	})
}

// checkHistory fails unless the files and the memory of m have so many logins and closed
// sessions, and each minute once.
func checkHistory(t *testing.T, m *Manager, logins, sessions int) {
	t.Helper()
	minutes, hours := lines(t, m.store.dir)
	accepted, closed, seen := 0, 0, map[time.Time]bool{}
	for _, minute := range minutes {
		if seen[minute.Start] {
			t.Errorf("two lines for %v", minute.Start)
		}
		seen[minute.Start] = true
		accepted += minute.Known.Accepted
		closed += minute.Closed
	}
	if accepted != logins || closed != sessions || len(hours) != 1 {
		t.Errorf("%d logins and %d closed sessions in %d minutes and %d hours, want %d and %d in one hour", accepted, closed, len(minutes), len(hours), logins, sessions)
	}
	again := report.NewHistory()
	if _, err := m.store.loadHistory(time.Now(), again); err != nil {
		t.Fatal(err)
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Minute)
	if got, want := fmt.Sprint(m.history.Minutes(from, to)), fmt.Sprint(again.Minutes(from, to)); got != want {
		t.Errorf("history in memory\n%s\nin the files\n%s", got, want)
	}
}

// TestDeliveryOutlivesStopForHandOver by a grace period, and no other end.
func TestDeliveryOutlivesStopForHandOver(t *testing.T) {
	for _, c := range []struct {
		why  error
		want time.Duration
	}{{ErrHandOver, handOverGrace}, {context.Canceled, 0}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			delivery, cancel := deliveryContext(ctx)
			defer cancel()
			began := time.Now()
			stop(c.why)
			<-delivery.Done()
			if got := time.Since(began); got != c.want {
				t.Errorf("ended after %v, want %v", got, c.want)
			}
		})
	}
}

// TestStopBeginsNoDelivery: when Run ends, what is pending is not sent and is no failure.
func TestStopBeginsNoDelivery(t *testing.T) {
	r := newWebhookServer(t)
	m, _ := newManager(t, Config{Webhooks: []*url.URL{r.url(t)}})
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.deliver(ctx, at(0), m.receivers[0])
	if got := m.Failures(at(9)); len(got) > 0 || len(r.bodies) > 0 || !m.receivers[0].retryAt.IsZero() {
		t.Errorf("sent %q, failures %q", r.bodies, got)
	}
	if m.deliver(t.Context(), at(0), m.receivers[0]); len(r.bodies) != 1 {
		t.Errorf("then sent %q", r.bodies)
	}
}

// TestLimitsAreTightenedAtOnce when the process that hands over had tightened them.
func TestLimitsAreTightenedAtOnce(t *testing.T) {
	m, _ := newManager(t, Config{})
	m.state.Tighten = true
	var calls []bool
	next := handOver(t, at(0), m, Config{Tighten: func(tighten bool) { calls = append(calls, tighten) }})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrHandOver)
	if next.Run(ctx); len(calls) == 0 || !calls[0] {
		t.Errorf("got %v", calls)
	}
}
