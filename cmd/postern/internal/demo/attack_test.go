package demo

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/testbed"
)

// alertPatience is how long the alert may take on a machine that is busy with
// other tests. On an idle one it takes less than two minutes.
const alertPatience = 4 * time.Minute

// TestAttack sees what people see within two minutes: one alert, an update of the
// status page, and a report that has every login. It is a complete gateway, with
// real clients and a real receiver of webhooks.
func TestAttack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a whole network of loopback addresses")
	}
	t.Parallel() // it waits most of the time
	d := start(t, true)
	d.out.Await(t, "users log in")
	d.out.AwaitFor(t, alertPatience, "ALERT", "firing: Attack on logins since")
	public := d.out.AwaitFor(t, alertPatience, "PUBLIC", "(investigating)", "automated login attempts", "Next update by")
	if strings.Contains(public, "127.") || strings.Contains(public, "240") {
		t.Errorf("addresses or counts on the status page: %s", public)
	}
	checkReport(t, regexp.MustCompile(`POSTERN_ADMIN_\w+=\S+`).FindAllString(d.out.String(), -1))
	d.cancel()
	if err := <-d.ended; err != nil || strings.Count(d.out.String(), "ALERT") != 1 {
		t.Errorf("%v\n%s", err, d.out)
	}
	if dir := regexp.MustCompile(`/tmp/postern-demo-\d+`).FindString(d.out.String()); dir != "" {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was left behind", dir)
		}
	}
}

// checkReport compares the report with what the gateway has counted. environ is
// what the demo asks people to export.
func checkReport(t *testing.T, environ []string) {
	t.Helper()
	c, err := config.Load(environ)
	client, err := admin.NewOperatorClient(c, err, testbed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	before := countLogins(t, string(c.Admin.Listen))
	doc, err := client.Get(t.Context(), admin.ReportPath+"?format=json")
	if err != nil {
		t.Fatal(err)
	}
	after := countLogins(t, string(c.Admin.Listen))
	var report struct{ Volume []struct{ Logins int } }
	if err := json.Unmarshal(doc, &report); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, hour := range report.Volume {
		sum += hour.Logins
	}
	if got := float64(sum); got < .98*before || got > 1.02*after || before < 200 {
		t.Errorf("the report has %v logins, the gateway counted %v before and %v after", got, before, after)
	}
	text, err := client.Get(t.Context(), admin.ReportPath+"?public=true")
	if err != nil || !strings.HasPrefix(string(text), "# ") || !strings.Contains(string(text), "TODO") ||
		strings.Contains(string(text), "127.") || strings.Contains(string(text), "example.org") {
		t.Errorf("%v: %s", err, text)
	}
}

// countLogins adds up postern_logins_total of the gateway at addr.
func countLogins(t *testing.T, addr string) (sum float64) {
	t.Helper()
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
	for _, m := range families["postern_logins_total"].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}
