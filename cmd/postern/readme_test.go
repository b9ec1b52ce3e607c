package main

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write the tables of README.md anew")

const readme = "../../README.md"

// TestReadmeTables compares the tables of README.md with what they are made
// from.
func TestReadmeTables(t *testing.T) {
	var table bytes.Buffer
	if err := writeMarkdown(&table); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"settings": table.String(), "metrics": metricsTable(t)} {
		before, got, after := marked(t, name)
		switch {
		case got == want:
		case *update:
			if err := os.WriteFile(readme, []byte(before+want+after), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("the %s in README.md are old; `go test ./cmd/postern -run Readme -update` writes them anew", name)
		}
	}
}

// marked cuts README.md at the marks around the part called name.
func marked(t *testing.T, name string) (before, part, after string) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", name), fmt.Sprintf("<!-- end %s -->\n", name)
	before, rest, begun := strings.Cut(string(text), begin)
	part, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("README.md has no marks for the %s", name)
	}
	return before + begin, part, end + after
}

// metricsTable describes every metric of postern's own.
func metricsTable(t *testing.T) string {
	families := gather(t, testMetrics(t).registry)
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if f := families[name]; strings.HasPrefix(name, "postern_") {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp())
		}
	}
	return b.String()
}

func labelsOf(f *dto.MetricFamily) string {
	var names []string
	for _, l := range f.GetMetric()[0].GetLabel() {
		names = append(names, "`"+l.GetName()+"`")
	}
	return strings.Join(names, " ")
}

// TestReadmeNamesLogFields: every field of a client's lines has a row, in its
// order, and no row is left over.
func TestReadmeNamesLogFields(t *testing.T) {
	want := []string{"ts", "level", "msg"}
	for _, attrs := range [][]slog.Attr{recordAttrs(testRecord("")), attemptAttrs(testAttempt(""), "")} {
		for _, a := range attrs {
			if !slices.Contains(want, a.Key) {
				want = append(want, a.Key)
			}
		}
	}
	_, part, _ := marked(t, "log fields")
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(part, -1) {
		got = append(got, row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestReadmeNamesEvents: every kind of line has a row.
func TestReadmeNamesEvents(t *testing.T) {
	_, part, _ := marked(t, "events")
	for _, event := range []string{"start", "login", "connection", "backend", "certificates", "settings", "reload", "state", "log_dropped", "systemd", "incident", "admin", "watch", "stop"} {
		if !strings.Contains(part, "| `"+event+"` |") {
			t.Errorf("no row for %s", event)
		}
	}
}

// TestReadmeLinks: what README.md points to in the repository is there.
func TestReadmeLinks(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat("../../" + link[1]); err != nil {
			t.Errorf("%s: %v", link[1], err)
		}
	}
}
