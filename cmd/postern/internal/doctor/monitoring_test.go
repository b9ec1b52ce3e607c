package doctor

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
)

// TestReceivers that cannot be reached are failures; nothing is ever posted.
func TestReceivers(t *testing.T) {
	const closed = "127.77.0.1:1"
	e := loaded(t, prefix+"ALERTMANAGER_URL=http://"+closed, prefix+"WEBHOOK_URL=http://"+closed+"/secret,http://no.such.host.invalid/secret")
	r := Report(e.checkReceivers(t.Context()))
	r.expect(t, Failure, "Alertmanager "+closed, "refused", "POSTERN_ALERTMANAGER_URL")
	r.expect(t, Failure, "webhook 1 (127.77.0.1)", "refused", "POSTERN_WEBHOOK_URL")
	r.expect(t, Failure, "webhook 2 (no.such.host.invalid)", "POSTERN_WEBHOOK_URL")
	if strings.Contains(r.text(t), "secret") {
		t.Errorf("shows the path of a webhook:\n%s", r.text(t))
	}
	Report(loaded(t).checkReceivers(t.Context())).expect(t, Warning, "alerts nobody", "POSTERN_ALERTMANAGER_URL or POSTERN_WEBHOOK_URL")
}

// TestAlertmanagerBehindProxy that passes the API only is asked for its status.
func TestAlertmanagerBehindProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v2/status" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	e := loaded(t, prefix+"ALERTMANAGER_URL="+server.URL)
	Report(e.checkReceivers(t.Context())).expect(t, OK, "Alertmanager ", "ready")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) }))
	defer broken.Close()
	e = loaded(t, prefix+"ALERTMANAGER_URL="+broken.URL)
	Report(e.checkReceivers(t.Context())).expect(t, Failure, "got status 503", "start it")
}

// TestWebhookCertificate is verified.
func TestWebhookCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	e := loaded(t, prefix+"WEBHOOK_URL="+server.URL)
	Report(e.checkReceivers(t.Context())).expect(t, Failure, "webhook 1 (127.0.0.1)", "certificate", "POSTERN_WEBHOOK_URL")
}

// TestWrongClock is found by an answer of another machine.
func TestWrongClock(t *testing.T) {
	e := loaded(t, monitored(t, func() time.Time { return time.Now().Add(time.Hour) })...)
	Report(e.checkReceivers(t.Context())).expect(t, Warning, "clock: ", "behind that of 127.0.0.1")
}

// TestStatusPage that is not written, not copied or not there.
func TestStatusPage(t *testing.T) {
	summary := func(age time.Duration) string {
		return `{"page":{"updated_at":"` + time.Now().Add(-age).UTC().Format(time.RFC3339) + `"}}`
	}
	for name, tt := range map[string]struct {
		text  string // of summary.json; none if empty
		runs  bool
		level Level
		want  string
	}{
		"fresh":            {summary(time.Minute), true, OK, "written 1m"},
		"old":              {summary(time.Hour), true, Failure, "was last written 1h0m"},
		"old, stopped":     {summary(time.Hour), false, Failure, "start postern"},
		"another file":     {`{"page":{}}`, true, Failure, "is not that of a status page"},
		"no JSON":          {"<html>", true, Failure, "is not that of a status page"},
		"never":            {"", true, Failure, "has not written it"},
		"not yet, stopped": {"", false, OK, "writable"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.text != "" {
				if err := os.WriteFile(filepath.Join(dir, summaryFile), []byte(tt.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			server := httptest.NewServer(http.FileServer(http.Dir(dir)))
			defer server.Close()
			e := loaded(t, prefix+"STATUS_DIR="+dir, prefix+"STATUS_URL="+server.URL)
			if tt.runs {
				e.running = &monitor.State{}
			}
			r := Report(e.checkStatusPage(t.Context()))
			r.expect(t, tt.level, "status page "+dir, tt.want)
			if tt.text == "" {
				r.expect(t, Failure, "status page "+server.URL, "got status 404", "POSTERN_STATUS_DIR")
			} else {
				r.expect(t, tt.level, "status page "+server.URL)
			}
		})
	}
	e := loaded(t, prefix+"STATUS_DIR=/no/such/dir")
	Report(e.checkStatusPage(t.Context())).expect(t, Failure, "cannot be written", "POSTERN_STATUS_DIR")
}

// TestMetrics are parsed, on the address of their own as well.
func TestMetrics(t *testing.T) {
	const addr = "127.77.0.1:10143" // no other test uses it
	g := start(t, prefix+"METRICS_LISTEN="+addr)
	examine(t, g.options()).expect(t, OK, "metrics at "+addr, " metrics of postern")
	o := g.options()
	o.Environ = append(o.Environ, prefix+"METRICS_LISTEN=127.77.0.1:1")
	examine(t, o).expect(t, Failure, "metrics at 127.77.0.1:1", "refused", "POSTERN_METRICS_LISTEN")
	for text, want := range map[string]string{"<html>\n": "cannot be parsed", "up 1\n": "has no metric of postern"} {
		Report{checkExposition("metrics", []byte(text), nil)}.expect(t, Failure, want)
	}
	Report{checkExposition("metrics", nil, errors.New("no\nroute"))}.expect(t, Failure, "no route")
}

// TestStateOfRunningGateway is part of the report: what it could not do, and its backends.
func TestStateOfRunningGateway(t *testing.T) {
	e := loaded(t)
	e.running = &monitor.State{Unready: "no backend of imap is up", Backends: monitor.Backends{Up: 1, All: 2}, Failures: []string{"alert to x: \x1b[2Jno route"}}
	r := Report(e.checkAdmin(t.Context()))
	r.expect(t, Failure, "not ready: no backend of imap is up")
	r.expect(t, Failure, "1 of 2 backends down")
	r.expect(t, Warning, "alert to x:  [2Jno route")
	Report(loaded(t, prefix+"ADMIN_LISTEN=off").checkAdmin(t.Context())).expect(t, Warning, "disabled", "POSTERN_ADMIN_LISTEN")
}

// TestAdminSocket needs no token.
func TestAdminSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	g := start(t, prefix+"ADMIN_LISTEN=unix:"+socket)
	o := g.options()
	o.Environ = append(o.Environ, prefix+"ADMIN_LISTEN=unix:"+socket)
	r := examine(t, o)
	r.expect(t, OK, "admin API unix:"+socket, "ready")
	r.expect(t, OK, "admin token")
	r.expect(t, OK, "metrics at unix:")
}
