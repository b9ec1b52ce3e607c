package top

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
)

var update = flag.Bool("update", false, "write the golden files")

// atEnd holds what must be called after all tests.
var atEnd []func()

func TestMain(m *testing.M) {
	time.Local = time.UTC // of clocks on the screen
	if part := os.Getenv(bePanicking); part != "" {
		os.Exit(showPanicking(part))
	}
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}

// once prints one screen.
func once(t *testing.T, f *fake, environ ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := Once(t.Context(), &out, f.options(t, environ...), false); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestOnceGolden compares whole screens.
func TestOnceGolden(t *testing.T) {
	for name, environ := range map[string][]string{
		"once-80":      {"COLUMNS=80", "LINES=24"},
		"once-120":     {"COLUMNS=120", "LINES=40"},
		"once-console": {"COLUMNS=80", "LINES=24", "TERM=linux"},
	} {
		got := once(t, newFake(t), environ...)
		file := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestGuideShowsOnce: the example in the guide for operators is what the command prints.
func TestGuideShowsOnce(t *testing.T) {
	want, err := os.ReadFile("testdata/once-80.txt")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../../../deploy/OPERATORS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ReplaceAll(string(guide), "\n    ", "\n"), string(want)) {
		t.Errorf("the guide does not have\n%s", want)
	}
}

// TestOnceFitsEveryScreen: no line is wider, and there are not more lines.
func TestOnceFitsEveryScreen(t *testing.T) {
	f := newFake(t)
	f.view = hostile()
	for _, size := range [][2]int{{30, 8}, {40, 12}, {60, 20}, {79, 24}, {80, 24}, {132, 43}, {200, 60}} {
		for table := range tables {
			m := ready(t, f, size[0], size[1])
			m.list.choose(table)
			m.list.update(m)
			screen := m.screen()
			lines := strings.Split(screen, "\n")
			if len(lines) != size[1] {
				t.Errorf("%v %s: got %d lines", size, tables[table].name, len(lines))
			}
			for _, line := range lines {
				if ansi.StringWidth(line) > size[0] {
					t.Errorf("%v %s: got %d columns: %q", size, tables[table].name, ansi.StringWidth(line), line)
				}
			}
			if hasHostile(ansi.Strip(screen)) {
				t.Errorf("%v %s: got %q", size, tables[table].name, screen)
			}
		}
	}
}

// evil is a text that tries to steer a terminal.
const evil = "a\x1b[2J\x1b]0;owned\x07\u009b31m\u202egpj.exe\u2066\u200b\u2028\r\n\t\xff日本語日本語\u0000"

// hasHostile reports whether a text has characters that steer a terminal.
func hasHostile(s string) bool {
	return strings.ContainsAny(s, "\x1b\x07\u009b\u202e\u2066\u200b\u2028\r\t\u0000")
}

// hostile is a View with such a text everywhere.
func hostile() *view.View {
	v := sample()
	v.Host, v.Version, v.Level, v.Text, v.Mode.By = evil, evil, evil, evil, evil
	v.Mode.Observe, v.Mode.Until = true, now.Add(time.Hour)
	v.State.Verdict, v.State.Incident.ID, v.State.Incident.Stage = evil, evil, evil
	v.State.Generations[0].Version = evil
	for i := range v.Backends {
		v.Backends[i].Addr, v.Backends[i].Error = evil, evil
	}
	for i := range v.Listeners {
		v.Listeners[i].Addr = evil
	}
	d := v.Detail
	for range 60 {
		row := recent.Row{Name: strings.Repeat(evil, 20), Rule: evil}
		d.Top.Sources, d.Top.Networks, d.Top.Accounts = append(d.Top.Sources, row), append(d.Top.Networks, row), append(d.Top.Accounts, row)
		d.Refusals = append(d.Refusals, recent.Event{Session: evil, Account: evil, Listener: evil, Rule: evil, Result: evil, Why: evil})
		d.Decisions = append(d.Decisions, decisions.Decision{ID: evil, Kind: decisions.Kind(evil), By: evil, Comment: evil})
	}
	d.Incidents[0].ID, d.Incidents[0].AckedBy = evil, evil
	d.Incidents[0].Events[0].Text = evil
	return v
}

// TestOnceHasNoEscapes in any locale.
func TestOnceHasNoEscapes(t *testing.T) {
	f := newFake(t)
	f.view = hostile()
	if out := once(t, f, "LANG=C"); hasHostile(out) || strings.Trim(out, "\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != "" {
		t.Errorf("got %q", out)
	}
}

// TestOnceJSON prints the View.
func TestOnceJSON(t *testing.T) {
	var out bytes.Buffer
	if err := Once(t.Context(), &out, newFake(t).options(t), true); err != nil {
		t.Fatal(err)
	}
	var v view.View
	if err := json.Unmarshal(out.Bytes(), &v); err != nil || v.Host != "mx1.example" || len(v.Detail.Top.Sources) != 3 || len(v.Series) != 300 {
		t.Errorf("got %v, %s", err, out.String())
	}
}

// TestOnceWithoutToken shows the state, and why there is no more.
func TestOnceWithoutToken(t *testing.T) {
	f := newFake(t)
	o := f.options(t)
	var err error
	if o.Client, err = admin.NewClient(f.c, nil, testbed.Patience); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := Once(t.Context(), &text, o, false); err != nil {
		t.Fatal(err)
	}
	out := text.String()
	for _, want := range []string{"WARNING attack since 14:07", "attack since 14:07 (23m)", "shown with the admin token only"} {
		if !strings.Contains(out, want) {
			t.Errorf("got no %q in\n%s", want, out)
		}
	}
}
