package incidents

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// handOver returns the Manager that takes over from m at time t.
func handOver(t *testing.T, when time.Time, m *Manager, c Config) *Manager {
	t.Helper()
	data, err := m.Export(when)
	if err != nil {
		t.Fatal(err)
	}
	c.Former = data
	next, _ := newManagerAt(t, when, c)
	return next
}

// files returns the content of all files below a directory, by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// withAndWithoutDir calls test with a state directory and without one.
func withAndWithoutDir(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("with Dir", func(t *testing.T) { test(t, t.TempDir()) })
	t.Run("without Dir", func(t *testing.T) { test(t, "") })
}

// TestHandOverOfPendingAlert: an alert that could not be delivered is delivered once by the
// next process, which continues the pause after the failure, and the failure is still listed.
func TestHandOverOfPendingAlert(t *testing.T) {
	withAndWithoutDir(t, func(t *testing.T, dir string) {
		r := newWebhookServer(t)
		c := Config{Dir: dir, Webhooks: []*url.URL{r.url(t)}}
		m, _ := newManager(t, c)
		do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
		r.code = http.StatusBadGateway
		m.deliver(t.Context(), at(0), m.receivers[0])
		m = handOver(t, at(.05), m, c)
		r.code = http.StatusOK
		m.deliver(t.Context(), at(.1), m.receivers[0])
		if got := r.alerts(t); len(got) != 0 {
			t.Errorf("sent during the pause: %q", got)
		}
		if got := m.Failures(at(2)); len(got) != 1 || !strings.Contains(got[0], "502") {
			t.Errorf("failures %q", got)
		}
		for n := range 3 {
			m.deliver(t.Context(), at(.2), m.receivers[0])
			m.deliver(t.Context(), at(.3), m.receivers[0])
			if got := r.alerts(t); len(got) != 1 {
				t.Errorf("after %d hand-overs: sent %q", n, got)
			}
			m = handOver(t, at(.4), m, c)
		}
		if s := m.Stats().Sent["webhook"]; s != (Deliveries{OK: 1, Failed: 1}) {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestHandOverKeepsAlertmanagerInformed: the next process neither repeats an alert early
// omits to resolve one, of a class that the incident no longer has.
func TestHandOverKeepsAlertmanagerInformed(t *testing.T) {
	r := newWebhookServer(t)
	c := Config{Alertmanager: r.url(t)}
	m, _ := newManager(t, c)
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	m.deliver(t.Context(), at(0), m.receivers[0])
	m = handOver(t, at(.1), m, c)
	if m.deliver(t.Context(), at(.5), m.receivers[0]); len(r.bodies) != 1 {
		t.Errorf("repeated early: %q", r.bodies)
	}
	do(t, m, at(.6), incident.Command{Action: incident.ActReclassify, Class: watch.ClassAuthFault})
	m = handOver(t, at(.7), m, c)
	m.deliver(t.Context(), at(.8), m.receivers[0])
	if all := strings.Join(r.bodies[1:], "\n"); strings.Count(all, `"class":"attack"`) != 1 || !strings.Contains(all, `"endsAt":"2026-03-29T12:00:48Z"`) {
		t.Errorf("got %s", all)
	}
}

// TestHandOverOfPublishedIncident: the status page and its updates do not change, and
// the next update comes when it was announced.
func TestHandOverOfPublishedIncident(t *testing.T) {
	withAndWithoutDir(t, func(t *testing.T, dir string) {
		c := Config{Dir: dir, StatusDir: t.TempDir()}
		m, _ := newManager(t, c)
		do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
		do(t, m, at(0), incident.Command{Action: incident.ActPublish})
		m.publish(at(0))
		before := files(t, c.StatusDir)
		m = handOver(t, at(0), m, c)
		if after := files(t, c.StatusDir); !reflect.DeepEqual(after, before) {
			t.Error("the hand-over has changed the status page")
		}
		m.publish(at(0))
		if after := files(t, c.StatusDir); !reflect.DeepEqual(after, before) {
			t.Errorf("the status page was\n%v\nis\n%v", before, after)
		}
		i, _ := m.Open()
		for minute, want := range map[float64]int{28: 1, 29: 2} {
			next := handOver(t, at(20), m, c)
			next.publish(at(minute))
			if got := next.notificationsTo(publicRecipient, i.ID); len(got) != want || got[0].Stage != statuspage.Investigating {
				t.Errorf("minute %v: updates %+v", minute, got)
			}
			if dir != "" {
				break
			}
		}
	})
}

// state is a state of the detector at time t.
func state(t time.Time, class watch.Class) watch.State {
	return watch.State{
		Time: t, Class: class, Tighten: class == watch.ClassAttack, BackendFault: class == watch.ClassBackendFault,
		Protecting: true, Users: watch.Users{Good: 100},
	}
}

// feed lets the incidents observe a class of trouble for some minutes from one on.
func feed(m *Manager, from, to float64, class watch.Class) {
	for when := at(from); when.Before(at(to)); when = when.Add(10 * time.Second) {
		m.writing.Lock()
		m.saveEvents(when, m.incidents.Observe(state(when, class)))
		m.writing.Unlock()
	}
}

// TestHandOverKeepsCommandsOfOperators: an incident that is held is not published, one that
// was acknowledged is not reminded of, and after a false alarm the same trouble is no new incident.
func TestHandOverKeepsCommandsOfOperators(t *testing.T) {
	withAndWithoutDir(t, func(t *testing.T, dir string) {
		c := Config{Dir: dir, StatusDir: t.TempDir()}
		m, _ := newManager(t, c)
		feed(m, 0, .3, watch.ClassAttack)
		do(t, m, at(.3), incident.Command{Action: incident.ActHold})
		do(t, m, at(.3), incident.Command{Action: incident.ActAck})
		m = handOver(t, at(.4), m, c)
		feed(m, .4, 10, watch.ClassAttack)
		i, open := m.Open()
		if !open || i.Public() || !i.Held || i.AckedBy != "anna" {
			t.Errorf("got %+v", i)
		}
		do(t, m, at(10), incident.Command{Action: incident.ActFalseAlarm})
		m = handOver(t, at(10.1), m, c)
		feed(m, 10.1, 12, watch.ClassAttack)
		if all := m.All(); len(all) != 1 || !all[0].False {
			t.Errorf("after the false alarm: %+v", all)
		}
	})
}

// TestHandOverIsNoRestart: a suspected fault is dismissed as soon as without the hand-over,
// which after a restart takes minutes longer.
func TestHandOverIsNoRestart(t *testing.T) {
	dismissed := map[string]time.Time{}
	for _, how := range []string{"neither", "hand-over", "restart"} {
		c := Config{Dir: t.TempDir()}
		m, _ := newManager(t, c)
		feed(m, 0, 20, watch.ClassNormal)
		feed(m, 20, 21, watch.ClassBackendFault)
		switch how {
		case "hand-over":
			m = handOver(t, at(21), m, c)
		case "restart":
			m, _ = newManager(t, c)
		}
		feed(m, 21, 40, watch.ClassNormal)
		all := m.All()
		if len(all) != 1 || all[0].Phase != incident.Dismissed {
			t.Fatalf("%s: got %+v", how, all)
		}
		dismissed[how] = all[0].Ended
	}
	if dismissed["hand-over"] != dismissed["neither"] || !dismissed["restart"].After(dismissed["neither"]) {
		t.Errorf("dismissed at %v", dismissed)
	}
}

// TestNewWithFormerChangesNothing on the disk, and sends nothing, until Run is called.
func TestNewWithFormerChangesNothing(t *testing.T) {
	r := newWebhookServer(t)
	c := Config{Dir: t.TempDir(), StatusDir: t.TempDir(), Webhooks: []*url.URL{r.url(t)}, Alertmanager: r.url(t)}
	m, _ := newManager(t, c)
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	old := filepath.Join(c.Dir, historyDir, "2020-01-01.jsonl") // too old: a start from Dir deletes it
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, c.Dir)
	next := handOver(t, at(1), m, c)
	if i, open := next.Open(); !open || i.Class != watch.ClassAttack {
		t.Errorf("took over %+v", i)
	}
	if got := files(t, c.Dir); !reflect.DeepEqual(got, before) || len(files(t, c.StatusDir)) > 0 || len(r.bodies) > 0 {
		t.Errorf("files %v, before %v; sent %q", got, before, r.bodies)
	}
	c.Dir = filepath.Join(c.Dir, "missing")
	handOver(t, at(1), m, c)
	if _, err := os.Stat(c.Dir); err == nil {
		t.Error("created the state directory")
	}
}

// TestNoChangeWhileHandedOver: a change that the next process would not have is refused, until
// the hand-over has failed and Run is called again.
func TestNoChangeWhileHandedOver(t *testing.T) {
	m, _ := newManager(t, Config{Dir: t.TempDir()})
	snapshot := m.watch.Snapshot(noon)
	if _, err := m.Export(at(0)); err != nil {
		t.Fatal(err)
	}
	open := incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, By: "anna"}
	if _, err := m.Do(at(0), open); !errors.Is(err, ErrHandOver) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Merge(at(0), snapshot); !errors.Is(err, ErrHandOver) {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(ErrHandOver)
	m.Run(ended)
	if _, err := m.Do(at(0), open); err != nil {
		t.Error(err)
	}
}
