package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/bench/client"
	"postern/bench/machine"
)

// sampleReport is a report of two works at three targets.
func sampleReport(t *testing.T) *Report {
	t.Helper()
	r := &Report{
		Start: time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC), Took: Duration(95 * time.Second), Command: "postern-bench login",
		Machine: machine.Info{CPU: "a CPU", Cores: 2, Memory: "24 GB", System: "Debian", Go: "go1.26"},
		Targets: []TargetInfo{{Name: "postern", About: "this module"}, {Name: "nginx"}, {Name: "haproxy", About: "<b>tcp</b> & more"}},
		Missing: []string{"dovecot: missing"},
	}
	login := newCollector(Work{Name: "login, TLS, saturation", about: "They <log> in."})
	for round := range 3 {
		for i, name := range []string{"postern", "nginx", "haproxy"} {
			s := &sample{}
			s.figure("CPU per login", "µs", lower, []float64{300, 500, 400}[i]+float64(round))
			s.figure("accepted", "%", higher, 100)
			res := newResults(r.Start)
			for n := range 100 {
				res.add(r.Start, time.Duration(n+1)*time.Millisecond, client.Accepted, nil)
			}
			s.latency("login", res)
			s.timeline("logins", "/s", Line{"accepted", []float64{1, 5, 3}})
			if name == "nginx" {
				s.problem("out of memory")
			}
			login.add(name, s, []float64{0.02, 0.03, 0.40}[i], nil)
		}
	}
	idle := newCollector(Work{Name: "idle, TLS"})
	idle.add("postern", &sample{figures: []figure{{"descriptors per session", "", lower, 2}}}, 0, nil)
	idle.add("haproxy", &sample{figures: []figure{{"descriptors per session", "", lower, 2}}}, 0, nil)
	idle.add("nginx", &sample{}, 0, errors.Join(errors.New("nginx: idle"), errNotOffered))
	r.Groups = []Group{login.finish(), idle.finish()}
	r.Goals = evaluateGoals(r)
	return r
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport(t).Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Not measured: dovecot: missing.", "login, TLS, saturation",
		"CPU per login, µs      301  501 (0.60)  401 (0.75)",
		"! nginx: out of memory (3 times)", "haproxy ~", "40 % (haproxy)",
		"descriptors per session     2.00      –  2.00 (1.00)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "accepted") {
		t.Errorf("got the row of accepted logins, though all were accepted:\n%s", b.String())
	}
}

func TestGoals(t *testing.T) {
	r := sampleReport(t)
	if len(r.Goals) != 2 {
		t.Fatalf("%d goals: %+v", len(r.Goals), r.Goals)
	}
	cpu, descriptors := r.Goals[0], r.Goals[1]
	if !cpu.Peers["nginx"].Met || cpu.Peers["haproxy"].Met || cpu.Met || cpu.Own != 301 {
		t.Errorf("CPU per login: got 0.60 and 0.75, want at most 0.70 and 0.65: %+v", cpu)
	}
	if !descriptors.Met {
		t.Errorf("descriptors: %+v", descriptors)
	}
	row := &Row{Unit: "%", Cells: map[string]*Cell{"postern": {Median: 99.8}}}
	if g := (goal{AtLeast: 99.9}).evaluate(row); g.Met || g.Bound != "≥ 99.9" {
		t.Errorf("99.8 of 99.9: %+v", g)
	}
	if g := (goal{AtMost: 100}).evaluate(row); !g.Met || g.Bound != "≤ 100" {
		t.Errorf("99.8 of 100: %+v", g)
	}
}

// Every goal must name a work that exists; else it is never evaluated.
func TestGoalsNameWorks(t *testing.T) {
	o := Defaults()
	o.Attack.Times = []float64{4.27, 10, 100}
	names := map[string]bool{}
	for _, s := range Scenarios {
		works, err := s.works(&o)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range works {
			names[w.Name] = true
		}
	}
	for _, g := range goals {
		if (len(g.MaxRatios) == 0) == (g.AtLeast == 0 && g.AtMost == 0) {
			t.Errorf("goal %q: want either ratios or a bound", g.Name)
		}
		if !names[g.Work] {
			t.Errorf("goal %q: no work %q", g.Name, g.Work)
		}
	}
}

func TestReadme(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("# Head\n"+beginFigures+"old\n"+endFigures+"tail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := sampleReport(t)
	for range 2 { // the second time replaces the first
		if err := r.IntoReadme(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "# Head\n"+beginFigures) || !strings.HasSuffix(text, endFigures+"tail\n") || strings.Contains(text, "old") {
		t.Errorf("text outside of the markers has changed:\n%s", text)
	}
	for _, want := range []string{
		"| CPU per login, TLS, saturation | 301 µs | 0.60 (≤ 0.70) | **0.75** (≤ 0.65) | **no** |",
		"1 of 2 goals are met.", "| | postern | nginx | haproxy ~ |", "| CPU per login, µs | 301 | 501 (0.60) | 401 (0.75) |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Goals[0].Peers["nginx"] = GoalPeer{Ratio: 1.5, Most: 0.7}
	if behind := r.behind(r.ComparedPeers()); len(behind) != 1 || behind[0] != "CPU per login, TLS, saturation (1.50 × nginx)" {
		t.Errorf("behind: %q", behind)
	}
	if err := r.IntoReadme(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("writes into a missing file")
	}
	if err := os.WriteFile(path, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.IntoReadme(path); err == nil {
		t.Error("writes into a file without markers")
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport(t).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Took   float64
		Groups []struct {
			Rows []struct {
				Cells map[string]struct{ Median float64 }
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Took != 95 || back.Groups[0].Rows[0].Cells["nginx"].Median != 501 {
		t.Errorf("read back: %+v", back)
	}
}

var svg = regexp.MustCompile(`(?s)<svg .*?</svg>`)

// The page has no external resources, escapes all text, and its charts are valid
// XML.
func TestPage(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport(t).Page(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "src=", "href=", "@import", "url(", "<b>tcp", "NaN", "Inf", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	charts := svg.FindAllString(page, -1)
	if want := 2 + 1 + 3; len(charts) != want { // rows, latencies, timelines
		t.Errorf("%d charts, want %d", len(charts), want)
	}
	for _, c := range charts {
		d := xml.NewDecoder(strings.NewReader(c))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, c)
			}
		}
	}
}

func TestRefusesPublicAddresses(t *testing.T) {
	for addr, own := range map[string]bool{
		"127.0.0.1:993": true, "[::1]:993": true, "10.1.2.3:993": true, "192.168.0.1:imaps": true, "[fd00::1]:993": true,
		"[::ffff:10.0.0.1]:993": true,
		"8.8.8.8:993":           false, "[2001:4860:4860::8888]:993": false, "[::ffff:8.8.8.8]:993": false, "169.254.169.254:993": false, "0.0.0.0:993": false,
	} {
		r := &Remote{}
		if _, _, err := r.resolve(t.Context(), addr); (err == nil) != own {
			t.Errorf("%s: %v", addr, err)
		}
		r.OwnServer = true
		if _, _, err := r.resolve(t.Context(), addr); err != nil {
			t.Errorf("%s, own server: %v", addr, err)
		}
	}
}
