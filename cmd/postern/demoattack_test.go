package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// demoPatience is how long the alert may take: longer than a newcomer may have
// to wait, for a machine that is busy with other tests.
const demoPatience = 4 * time.Minute

// TestDemoAttack sees what a newcomer is to see within two minutes: people told
// once, the public told, and a report that has every login. It is the whole
// gate, with real clients and a real receiver of webhooks.
func TestDemoAttack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a whole network of loopback addresses")
	}
	t.Parallel() // it waits most of the time
	out := newLogbook()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- run(ctx, []string{"demo", "-attack"}, nil, out, out) }()
	out.await(t, "users come")
	out.awaitFor(t, demoPatience, "ALERT", "firing: Attack on logins since")
	said := out.awaitFor(t, demoPatience, "PUBLIC", "(investigating)", "automated login attempts", "Next update by")
	if strings.Contains(said, "127.") || strings.Contains(said, "240") {
		t.Errorf("the public is told too much: %s", said)
	}
	environ := regexp.MustCompile(`POSTERN_ADMIN_\w+=\S+`).FindAllString(out.String(), -1)
	checkDemoReport(t, environ)
	cancel()
	if got := <-code; got != exitOK || strings.Count(out.String(), "ALERT") != 1 {
		t.Errorf("exit %d\n%s", got, out)
	}
	if dir := regexp.MustCompile(`/tmp/postern-demo-\d+`).FindString(out.String()); dir != "" {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was left behind", dir)
		}
	}
}

// checkDemoReport compares the report that could be posted with what the gate
// has counted by then.
func checkDemoReport(t *testing.T, environ []string) {
	t.Helper()
	var text, doc bytes.Buffer
	before := loginsCounted(t, environ[0])
	if code := run(t.Context(), []string{"report", "-json"}, environ, &doc, &doc); code != exitOK {
		t.Fatalf("exit %d: %s", code, &doc)
	}
	after := loginsCounted(t, environ[0])
	var report struct{ Volume []struct{ Logins int } }
	if err := json.Unmarshal(doc.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, hour := range report.Volume {
		sum += hour.Logins
	}
	if got := float64(sum); got < .98*before || got > 1.02*after || before < 200 {
		t.Errorf("the report has %v logins, the gate counted %v before and %v after", got, before, after)
	}
	if code := run(t.Context(), []string{"report", "-public"}, environ, &text, &text); code != exitOK || !strings.HasPrefix(text.String(), "# ") ||
		!strings.Contains(text.String(), "TODO") || strings.Contains(text.String(), "127.") || strings.Contains(text.String(), "example.org") {
		t.Errorf("exit %d: %s", code, &text)
	}
}

// loginsCounted adds up postern_logins_total of the gate whose address a
// setting says.
func loginsCounted(t *testing.T, setting string) float64 {
	t.Helper()
	_, addr, _ := strings.Cut(setting, "=")
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, m := range families["postern_logins_total"].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return math.Round(sum)
}
