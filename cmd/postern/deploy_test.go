package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postern/cmd/postern/internal/testbed"
)

// scrape reads the metrics of g.
func (g *gateway) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + g.admin() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// metricNames are the names of all series of a gateway.
func metricNames(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	names := map[string]*dto.MetricFamily{"up": nil}
	for name, f := range start(t).scrape(t) {
		names[name] = f
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = f, f, f
		case dto.MetricType_SUMMARY:
			names[name+"_sum"], names[name+"_count"] = f, f
		}
	}
	return names
}

// recorded finds the names of recording rules.
var recorded = regexp.MustCompile(`job:postern_[a-z_]+:[a-z0-9_]+`)

// selector finds the names of metrics and their label matchers.
var selector = regexp.MustCompile(`\b((?:postern|process|go)_[a-z_]+|up)\b(?:\{([^}]*)\})?`)

// matcher finds one label matcher.
var matcher = regexp.MustCompile(`([a-z_]+)(=~|!=|=)"([^"]*)"`)

// checkExpr fails the test for metrics and label values in expr that postern does
// not have.
func checkExpr(t *testing.T, where, expr string, names map[string]*dto.MetricFamily) {
	t.Helper()
	found := selector.FindAllStringSubmatch(recorded.ReplaceAllString(expr, ""), -1)
	if len(found) == 0 && !recorded.MatchString(expr) {
		t.Errorf("%s: no metric in %s", where, expr)
	}
	for _, s := range found {
		family, known := names[s[1]]
		if !known {
			t.Errorf("%s: there is no metric %s", where, s[1])
			continue
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			for value := range strings.SplitSeq(m[3], "|") {
				if !slices.Contains([]string{"job", "instance"}, m[1]) && !hasLabel(family, m[1], value) {
					t.Errorf("%s: no %s has %s=%q", where, s[1], m[1], value)
				}
			}
		}
	}
}

// hasLabel reports whether some series of f has the label value.
func hasLabel(f *dto.MetricFamily, name, value string) bool {
	return slices.ContainsFunc(f.GetMetric(), func(m *dto.Metric) bool { return testbed.HasLabel(m, name, value) })
}

// TestDashboard: every expression uses metrics and labels that exist, and the file
// can be provisioned without changes.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/postern.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID         string
		ID          *int
		Inputs      any `json:"__inputs"`
		Annotations struct{ List []struct{ Expr string } }
		Panels      []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
			Datasource               struct{ UID string }
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "postern" || d.ID != nil || d.Inputs != nil || len(d.Annotations.List) != 1 {
		t.Errorf("uid %q, id %v, inputs %v, annotations %v", d.UID, d.ID, d.Inputs, d.Annotations)
	}
	names := metricNames(t)
	checkExpr(t, "annotation", d.Annotations.List[0].Expr, names)
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.Title == "" {
			t.Errorf("%q: number %d, at %+v", p.Title, p.ID, p.GridPos)
		}
		seen[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%q: data source %q, %d targets", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, target := range p.Targets {
			checkExpr(t, p.Title, target.Expr, names)
		}
	}
}

// TestRules: the rules of Prometheus use metrics that exist, and every recorded
// series is used.
func TestRules(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus/postern.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := metricNames(t)
	exprs := regexp.MustCompile(`(?m)^( +)expr: (?:\|\n((?:(?:\s{8,}.*)?\n)+)|(.*)\n)`).FindAllStringSubmatch(string(text), -1)
	if len(exprs) != 22 {
		t.Errorf("%d expressions, want 22", len(exprs))
	}
	for _, e := range exprs {
		checkExpr(t, "rules", e[2]+e[3], names)
	}
	for _, r := range regexp.MustCompile(`- record: (\S+)`).FindAllStringSubmatch(string(text), -1) {
		if strings.Count(string(text), r[1]) < 2 {
			t.Errorf("%s is recorded and not used", r[1])
		}
	}
	for _, r := range recorded.FindAllString(string(text), -1) {
		if !strings.Contains(string(text), "record: "+r+"\n") {
			t.Errorf("%s is not recorded", r)
		}
	}
}

// TestOperatorsPage: its links and commands exist, and it explains every alert.
func TestOperatorsPage(t *testing.T) {
	page, err := os.ReadFile("../../deploy/OPERATORS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat(filepath.Join("../../deploy", link[1])); err != nil {
			t.Errorf("%s: %v", link[1], err)
		}
	}
	rules, err := os.ReadFile("../../deploy/prometheus/postern.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`- alert: (\S+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(page), "`"+alert[1]+"`") {
			t.Errorf("%s is not explained", alert[1])
		}
	}
	for _, c := range regexp.MustCompile(`(?m)^    postern ([a-z]+)(?: |$)`).FindAllStringSubmatch(string(page), -1) {
		if !slices.ContainsFunc(commands, func(known command) bool { return known.name == c[1] }) {
			t.Errorf("there is no command %s", c[1])
		}
	}
}

// TestMuninPlugin runs postern by a name as Munin links it.
func TestMuninPlugin(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "postern_")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	g := start(t)
	plugin := exec.CommandContext(t.Context(), link)
	plugin.Env = []string{bePostern + "=yes", prefix + "ADMIN_LISTEN=" + g.admin()}
	out, err := plugin.Output()
	if err != nil || !strings.HasPrefix(string(out), "served.value 100\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
