package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

var update = flag.Bool("update", false, "rewrite the tables of deploy/REFERENCE.md")

const reference = "../../deploy/REFERENCE.md"

// TestReference compares the tables of deploy/REFERENCE.md with what they are
// generated from.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, table := range map[string]string{
		"common settings": config.Markdown(true),
		"other settings":  config.Markdown(false),
		"admin API":       admin.Markdown(),
		"metrics":         metricsTable(start(t).scrape(t)),
		"events":          eventsTable(),
		"log fields":      fieldsTable(),
	} {
		before, rest, begun := strings.Cut(page, fmt.Sprintf("<!-- begin %s -->\n", name))
		got, after, ended := strings.Cut(rest, fmt.Sprintf("<!-- end %s -->\n", name))
		if !begun || !ended {
			t.Fatalf("no markers for the %s", name)
		}
		if got != table && !*update {
			t.Errorf("the %s differ; `go test ./cmd/postern -run Reference -update` rewrites them", name)
		}
		page = strings.TrimSuffix(page, rest) + table + fmt.Sprintf("<!-- end %s -->\n", name) + after
		if !strings.HasPrefix(page, before) {
			t.Fatal("lost the part before")
		}
	}
	if *update && page != string(text) {
		if err := os.WriteFile(reference, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// metricsTable describes postern's own metrics.
func metricsTable(families map[string]*dto.MetricFamily) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if f := families[name]; strings.HasPrefix(name, "postern_") {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp())
		}
	}
	return b.String()
}

// labelsOf names the labels of f.
func labelsOf(f *dto.MetricFamily) string {
	var names []string
	for _, l := range f.GetMetric()[0].GetLabel() {
		if l.GetName() != "quantile" && l.GetName() != "le" {
			names = append(names, "`"+l.GetName()+"`")
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// eventsTable describes the kinds of log lines.
func eventsTable() string {
	var b strings.Builder
	b.WriteString("| event | meaning |\n|---|---|\n")
	for _, e := range eventlog.Events() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.Name, e.Meaning)
	}
	return b.String()
}

// fieldsTable describes the fields of log lines about clients.
func fieldsTable() string {
	var b strings.Builder
	b.WriteString("| field | lines | ECS | meaning |\n|---|---|---|---|\n")
	for _, f := range eventlog.Fields() {
		ecs := f.ECS
		if ecs != "" {
			ecs = "`" + ecs + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Lines, ecs, f.Meaning)
	}
	return b.String()
}

// TestEventsAreComplete: the table has every value of the field event that is in
// the source, and no other.
func TestEventsAreComplete(t *testing.T) {
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`slog\.String\("event", "(\w+)"\)`).FindAllStringSubmatch(string(text), -1) {
			source[m[1]] = true
		}
	}
	table := map[string]bool{}
	for _, e := range eventlog.Events() {
		table[e.Name] = true
	}
	if !maps.Equal(source, table) {
		t.Errorf("in the source %q, in the table %q", slices.Sorted(maps.Keys(source)), slices.Sorted(maps.Keys(table)))
	}
}

// TestLinks of the pages for people lead to files of the repository.
func TestLinks(t *testing.T) {
	for _, page := range []string{"../../README.md", reference} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
