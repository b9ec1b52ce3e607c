package incidents

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

var (
	noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	cest = time.FixedZone("CEST", 2*3600)
)

// at returns the time some minutes after noon.
func at(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// newManager returns a Manager that was started at noon, and its log.
func newManager(t *testing.T, c Config) (*Manager, *strings.Builder) {
	t.Helper()
	return newManagerAt(t, noon, c)
}

// newManagerAt returns a Manager that was started at a time, and its log.
func newManagerAt(t *testing.T, when time.Time, c Config) (*Manager, *strings.Builder) {
	t.Helper()
	var log strings.Builder
	c.Location, c.Host, c.Name, c.Hold = cest, "gate1", "Example Mail", 30*time.Second
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	c.Components = func() []Component { return []Component{{Name: "IMAP"}, {Name: "POP3", Down: true}} }
	m, err := New(when, c)
	if err != nil {
		t.Fatal(err)
	}
	return m, &log
}

// do executes a command that must succeed.
func do(t *testing.T, m *Manager, when time.Time, c incident.Command) {
	t.Helper()
	c.By = "anna"
	if _, err := m.Do(when, c); err != nil {
		t.Fatal(err)
	}
}

// webhookServer answers every request with code and stores the bodies of those
// that succeed.
type webhookServer struct {
	*httptest.Server
	code   int
	bodies []string
}

func newWebhookServer(t *testing.T) *webhookServer {
	r := &webhookServer{code: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if r.code == http.StatusOK {
			r.bodies = append(r.bodies, string(body))
		}
		w.WriteHeader(r.code)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *webhookServer) url(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// alerts returns status and class of each message.
func (r *webhookServer) alerts(t *testing.T) (all []string) {
	t.Helper()
	for _, body := range r.bodies {
		var m struct {
			Status       string
			CommonLabels map[string]string
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Status+" "+m.CommonLabels["class"])
	}
	return all
}

// TestWebhookMessages: a webhook is sent one message when an incident begins, one
// each hour until it is acknowledged, two when its class changes and one when it
// ends; none twice after a restart; and pending ones once it works again.
func TestWebhookMessages(t *testing.T) {
	r := newWebhookServer(t)
	c := Config{Dir: t.TempDir(), Webhooks: []*url.URL{r.url(t)}}
	m, _ := newManager(t, c)
	open := incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack}
	for _, step := range []struct {
		minute  float64
		do      incident.Command
		code    int
		restart bool
		want    string // all messages so far
	}{
		{minute: 1, want: ""},
		{minute: 2, do: open, code: 500, want: ""},
		{minute: 2.1, want: ""}, // pauses after a failure
		{minute: 2.2, want: "firing attack"},
		{minute: 30, want: "firing attack"},
		{minute: 31, restart: true, want: "firing attack"},
		{minute: 70, want: "firing attack, firing attack"},
		{minute: 71, do: incident.Command{Action: incident.ActAck}, want: "firing attack, firing attack"},
		{minute: 200, want: "firing attack, firing attack"},
		{minute: 201, do: incident.Command{Action: incident.ActReclassify, Class: watch.ClassAuthFault}, want: "firing attack, firing attack, resolved attack, firing auth_fault"},
		{minute: 210, do: incident.Command{Action: incident.ActResolve}, want: "firing attack, firing attack, resolved attack, firing auth_fault, resolved auth_fault"},
		{minute: 999, restart: true, want: "firing attack, firing attack, resolved attack, firing auth_fault, resolved auth_fault"},
	} {
		if step.restart {
			m, _ = newManager(t, c)
		}
		if step.do.Action != "" {
			do(t, m, at(step.minute), step.do)
		}
		if r.code = step.code; r.code == 0 {
			r.code = http.StatusOK
		}
		m.deliver(t.Context(), at(step.minute), m.receivers[0])
		if got := strings.Join(r.alerts(t), ", "); got != step.want {
			t.Fatalf("minute %v: got %q, want %q", step.minute, got, step.want)
		}
	}
	if s := m.Stats().Sent["webhook"]; s.Failed != 0 {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestAlertmanagerIsSentEachMinute while an incident is open, and once at its end.
func TestAlertmanagerIsSentEachMinute(t *testing.T) {
	r := newWebhookServer(t)
	m, _ := newManager(t, Config{Alertmanager: r.url(t)})
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	for _, step := range []struct {
		minute float64
		sent   int
		end    bool
	}{{0, 1, false}, {.5, 1, false}, {1, 2, false}, {2, 3, false}, {3, 4, true}, {4, 4, false}} {
		if step.end {
			do(t, m, at(step.minute), incident.Command{Action: incident.ActResolve})
		}
		m.deliver(t.Context(), at(step.minute), m.receivers[0])
		if len(r.bodies) != step.sent {
			t.Fatalf("minute %v: %d sent, want %d", step.minute, len(r.bodies), step.sent)
		}
	}
	if last := r.bodies[3]; !strings.Contains(last, `"endsAt":"2026-03-29T12:03:00Z"`) || !strings.Contains(last, `"alertname":"PosternIncident"`) {
		t.Errorf("got %s", last)
	}
	if s := m.Stats().Sent["alertmanager"]; s != (Deliveries{OK: 4}) {
		t.Errorf("counted %+v", s)
	}
}

// TestFailures: a delivery that fails for two minutes is listed, without secrets,
// until it works or nothing is to be delivered.
func TestFailures(t *testing.T) {
	r := newWebhookServer(t)
	r.code = http.StatusBadGateway
	hook := r.url(t)
	hook.Path = "/secret"
	m, log := newManager(t, Config{Webhooks: []*url.URL{hook}})
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	m.deliver(t.Context(), at(0), m.receivers[0])
	if got := m.Failures(at(1)); len(got) != 0 {
		t.Errorf("after a minute: %q", got)
	}
	got := m.Failures(at(2))
	if len(got) != 1 || !strings.HasPrefix(got[0], "webhook "+hook.Host) || !strings.Contains(got[0], "502") || strings.Contains(got[0], "secret") {
		t.Errorf("after two: %q", got)
	}
	do(t, m, at(3), incident.Command{Action: incident.ActResolve})
	m.deliver(t.Context(), at(4), m.receivers[0])
	if got := m.Failures(at(9)); len(got) != 0 {
		t.Errorf("nothing is pending, but got %q", got)
	}
	if !strings.Contains(log.String(), " failed") || strings.Contains(log.String(), "secret") {
		t.Errorf("log:\n%s", log)
	}
}

// TestRestartKeepsIncidents, notifications and the status page, even if a crash
// has left the last line incomplete.
func TestRestartKeepsIncidents(t *testing.T) {
	c := Config{Dir: t.TempDir(), StatusDir: t.TempDir()}
	m, log := newManager(t, c)
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, Text: "seen in the log"})
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "Attack on logins since 14:00 CEST") {
		t.Errorf("log:\n%s", log)
	}
	do(t, m, at(0), incident.Command{Action: incident.ActPublish})
	m.publish(at(0))
	before, err := os.ReadFile(filepath.Join(c.StatusDir, "incidents.json"))
	if err != nil || !strings.Contains(string(before), "automated login attempts") {
		t.Fatalf("%s, %v", before, err)
	}
	for _, name := range []string{incidentsFile, notificationsFile} {
		f, err := os.OpenFile(filepath.Join(c.Dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(`{"time":"2026-03-`)
		if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		f.Close()
	}
	m, _ = newManager(t, c)
	m.publish(at(0))
	after, err := os.ReadFile(filepath.Join(c.StatusDir, "incidents.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("after the restart: %s, %v", after, err)
	}
	do(t, m, at(1), incident.Command{Action: incident.ActNote, Text: "still here"})
	m, _ = newManager(t, c)
	if i, open := m.Open(); !open || len(i.Events) < 3 || i.Events[len(i.Events)-1].Text != "still here" {
		t.Errorf("got %+v", i)
	}
}

// TestAlertsWithoutWritableState: alerts are sent although the state directory
// cannot be written to.
func TestAlertsWithoutWritableState(t *testing.T) {
	r := newWebhookServer(t)
	dir := t.TempDir()
	m, log := newManager(t, Config{Dir: dir, Webhooks: []*url.URL{r.url(t)}})
	for _, name := range []string{incidentsFile, notificationsFile} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	for minute := range 3 {
		m.deliver(t.Context(), at(float64(minute)), m.receivers[0])
	}
	if got := r.alerts(t); len(got) != 1 {
		t.Errorf("got messages %q", got)
	}
	if got := m.Failures(at(5)); len(got) != 2 || !strings.Contains(log.String(), "saving incidents failed") {
		t.Errorf("got failures %q, log\n%s", got, log)
	}
}

func TestNewRejectsUnusableDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(noon, Config{Dir: path, Location: time.UTC}); err == nil || !strings.HasPrefix(err.Error(), "create state directory: ") {
		t.Errorf("got %v", err)
	}
}

func TestReport(t *testing.T) {
	m, _ := newManager(t, Config{})
	for id, want := range map[string]string{"": "report: there has been no incident", "x": `report: there is no incident "x"`} {
		if _, err := m.Report(noon, id, report.Internal, nil); err == nil || err.Error() != want {
			t.Errorf("%q: got %v", id, err)
		}
	}
	do(t, m, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	r, err := m.Report(at(1), "", report.Public, nil)
	if i, _ := m.Open(); err != nil || r.ID != i.ID || r.Form != report.Public {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := m.Do(at(1), incident.Command{Action: "nonsense"}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("nonsense: %v", err)
	}
}
