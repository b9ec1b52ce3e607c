package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// alertmanager starts a real Alertmanager that forwards all alerts to hook, and
// returns its URL. It ends with the test.
func alertmanager(t *testing.T, hook string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		testbed.Missing(t, "prometheus-alertmanager")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := `
route: {receiver: hook, group_by: [service], group_wait: 1s, group_interval: 1s}
receivers: [{name: hook, webhook_configs: [{url: "` + hook + `", send_resolved: true}]}]
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := testbed.NewLog()
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.path="+dir,
		"--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--log.level=info")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line := log.Await(t, "Listening on", "127.0.0.1:")
	return "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
}

// TestAlertmanager sends alerts about one incident to a real Alertmanager, which
// forwards two messages: one at the begin and one at the end.
func TestAlertmanager(t *testing.T) {
	type message struct {
		Status       string
		CommonLabels map[string]string
		Alerts       []struct{ Annotations map[string]string }
	}
	messages := make(chan message, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m message
		if body, err := io.ReadAll(r.Body); err == nil && json.Unmarshal(body, &m) == nil {
			messages <- m
		}
	}))
	t.Cleanup(receiver.Close)
	g := start(t, prefix+"STATE_DIR="+t.TempDir(), prefix+"ALERTMANAGER_URL="+alertmanager(t, receiver.URL))
	if code, out := g.command(t, "incident", "open", "attack"); code != exitOK {
		t.Fatal(out)
	}
	next := func() message {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(testbed.Patience):
			t.Fatal("no message from Alertmanager")
			return message{}
		}
	}
	m := next()
	if m.Status != "firing" || m.CommonLabels["alertname"] != "PosternIncident" || m.CommonLabels["class"] != "attack" || m.CommonLabels["severity"] != "page" ||
		len(m.Alerts) != 1 || m.Alerts[0].Annotations["summary"] == "" {
		t.Errorf("got %+v", m)
	}
	if code, out := g.command(t, "incident", "resolve"); code != exitOK {
		t.Fatal(out)
	}
	if m := next(); m.Status != "resolved" || m.CommonLabels["class"] != "attack" {
		t.Errorf("got %+v", m)
	}
	if len(messages) != 0 {
		t.Errorf("and another: %+v", <-messages)
	}
}
