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

// at is so many minutes after noon.
func at(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// newLookout returns a Lookout that has just been started at noon, and what it
// logs.
func newLookout(t *testing.T, c Config) (*Lookout, *strings.Builder) {
	t.Helper()
	var log strings.Builder
	c.Location, c.Host, c.Name, c.Hold = cest, "gate1", "Example Mail", 30*time.Second
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	c.Parts = func() []Part { return []Part{{Name: "IMAP"}, {Name: "POP3", Down: true}} }
	l, err := New(noon, c)
	if err != nil {
		t.Fatal(err)
	}
	return l, &log
}

// do carries out a command that must succeed.
func do(t *testing.T, l *Lookout, when time.Time, c incident.Command) {
	t.Helper()
	c.By = "anna"
	if _, err := l.Do(when, c); err != nil {
		t.Fatal(err)
	}
}

// receiver keeps what it is sent, and answers with code.
type receiver struct {
	*httptest.Server
	code   int
	bodies []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{code: http.StatusOK}
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

func (r *receiver) url(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// told is what a message says, in short.
func (r *receiver) told(t *testing.T) (all []string) {
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

// TestWebhook follows an incident: one message when it begins, another each
// hour until somebody takes it on, one when it turns out to be something else,
// one at its end; none twice after a restart; later ones once the receiver
// works again.
func TestWebhook(t *testing.T) {
	r := newReceiver(t)
	c := Config{Dir: t.TempDir(), Webhooks: []*url.URL{r.url(t)}}
	l, _ := newLookout(t, c)
	open := incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack}
	for _, step := range []struct {
		minute  float64
		do      incident.Command
		code    int
		restart bool
		want    string // all that was told so far
	}{
		{minute: 1, want: ""},
		{minute: 2, do: open, code: 500, want: ""},
		{minute: 2.1, want: ""}, // it waits after a failure
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
			l, _ = newLookout(t, c)
		}
		if step.do.Action != "" {
			do(t, l, at(step.minute), step.do)
		}
		if r.code = step.code; r.code == 0 {
			r.code = http.StatusOK
		}
		l.deliver(t.Context(), at(step.minute), l.targets[0])
		if got := strings.Join(r.told(t), ", "); got != step.want {
			t.Fatalf("minute %v: got %q, want %q", step.minute, got, step.want)
		}
	}
	if s := l.Stats().Sent["webhook"]; s.Failed != 0 {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestAlertmanager is told each minute, and once more when it is over.
func TestAlertmanager(t *testing.T) {
	r := newReceiver(t)
	l, _ := newLookout(t, Config{Alertmanager: r.url(t)})
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	for _, step := range []struct {
		minute float64
		sent   int
		end    bool
	}{{0, 1, false}, {.5, 1, false}, {1, 2, false}, {2, 3, false}, {3, 4, true}, {4, 4, false}} {
		if step.end {
			do(t, l, at(step.minute), incident.Command{Action: incident.ActResolve})
		}
		l.deliver(t.Context(), at(step.minute), l.targets[0])
		if len(r.bodies) != step.sent {
			t.Fatalf("minute %v: %d sent, want %d", step.minute, len(r.bodies), step.sent)
		}
	}
	if last := r.bodies[3]; !strings.Contains(last, `"endsAt":"2026-03-29T12:03:00Z"`) || !strings.Contains(last, `"alertname":"PosternIncident"`) {
		t.Errorf("got %s", last)
	}
	if s := l.Stats().Sent["alertmanager"]; s != (Deliveries{OK: 4}) {
		t.Errorf("counted %+v", s)
	}
}

// TestUntold: what does not work for two minutes is said, without secrets, and
// no longer once it works or is not needed.
func TestUntold(t *testing.T) {
	r := newReceiver(t)
	r.code = http.StatusBadGateway
	hook := r.url(t)
	hook.Path = "/secret"
	l, log := newLookout(t, Config{Webhooks: []*url.URL{hook}})
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	l.deliver(t.Context(), at(0), l.targets[0])
	if got := l.Untold(at(1)); len(got) != 0 {
		t.Errorf("after a minute: %q", got)
	}
	got := l.Untold(at(2))
	if len(got) != 1 || !strings.HasPrefix(got[0], "webhook "+hook.Host) || !strings.Contains(got[0], "502") || strings.Contains(got[0], "secret") {
		t.Errorf("after two: %q", got)
	}
	do(t, l, at(3), incident.Command{Action: incident.ActResolve})
	l.deliver(t.Context(), at(4), l.targets[0])
	if got := l.Untold(at(9)); len(got) != 0 {
		t.Errorf("nothing is to be told any more: %q", got)
	}
	if !strings.Contains(log.String(), "does not work") || strings.Contains(log.String(), "secret") {
		t.Errorf("log:\n%s", log)
	}
}

// TestRestart: incidents, what was told and the status page are the same after
// a restart, even if the last line was cut short by a crash.
func TestRestart(t *testing.T) {
	c := Config{Dir: t.TempDir(), StatusDir: t.TempDir()}
	l, log := newLookout(t, c)
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, Text: "seen in the log"})
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "Attack on logins since 14:00 CEST") {
		t.Errorf("log:\n%s", log)
	}
	do(t, l, at(0), incident.Command{Action: incident.ActPublish})
	l.publish(at(0))
	before, err := os.ReadFile(filepath.Join(c.StatusDir, "incidents.json"))
	if err != nil || !strings.Contains(string(before), "automated login attempts") {
		t.Fatalf("%s, %v", before, err)
	}
	for _, name := range []string{incidentsFile, toldFile} {
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
	l, _ = newLookout(t, c)
	l.publish(at(0))
	after, err := os.ReadFile(filepath.Join(c.StatusDir, "incidents.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("after the restart: %s, %v", after, err)
	}
	do(t, l, at(1), incident.Command{Action: incident.ActNote, Text: "still here"})
	l, _ = newLookout(t, c)
	if i, open := l.Open(); !open || len(i.Events) < 3 || i.Events[len(i.Events)-1].Text != "still here" {
		t.Errorf("got %+v", i)
	}
}

// TestDiskFull: a folder that cannot be written to keeps nobody from being
// told.
func TestDiskFull(t *testing.T) {
	r := newReceiver(t)
	dir := t.TempDir()
	l, log := newLookout(t, Config{Dir: dir, Webhooks: []*url.URL{r.url(t)}})
	for _, name := range []string{incidentsFile, toldFile} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	for minute := range 3 {
		l.deliver(t.Context(), at(float64(minute)), l.targets[0])
	}
	if got := r.told(t); len(got) != 1 {
		t.Errorf("told %q", got)
	}
	if got := l.Untold(at(5)); len(got) != 2 || !strings.Contains(log.String(), "keeping incidents does not work") {
		t.Errorf("says %q\n%s", got, log)
	}
}

// TestNewComplains of a folder that cannot be used.
func TestNewComplains(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(noon, Config{Dir: path, Location: time.UTC}); err == nil || !strings.HasPrefix(err.Error(), "keep state: ") {
		t.Errorf("got %v", err)
	}
}

// TestReport says what it is about, or that there is nothing.
func TestReport(t *testing.T) {
	l, _ := newLookout(t, Config{})
	for id, want := range map[string]string{"": "report: there has been no incident", "x": `report: there is no incident "x"`} {
		if _, err := l.Report(noon, id, report.Internal, nil); err == nil || err.Error() != want {
			t.Errorf("%q: got %v", id, err)
		}
	}
	do(t, l, at(0), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	r, err := l.Report(at(1), "", report.Public, nil)
	if i, _ := l.Open(); err != nil || r.ID != i.ID || r.Form != report.Public {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := l.Do(at(1), incident.Command{Action: "nonsense"}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("nonsense: %v", err)
	}
}
