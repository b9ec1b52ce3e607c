package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/cmd/postern/internal/testbed"
)

// table is what `postern config` prints with these settings.
func table(t *testing.T, more ...string) string {
	t.Helper()
	c, _ := load(testbed.Environ(more...), testFDs)
	var out bytes.Buffer
	if err := c.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestTableMarksChanges with a star before a value that is not the default. A
// value that was derived is shown like one that was set.
func TestTableMarksChanges(t *testing.T) {
	lines := table(t, "POSTERN_TRIES=5", "POSTERN_DRAIN=5m")
	for _, want := range []string{"* POSTERN_TRIES 5 3", "POSTERN_DRAIN 5m 5m", "POSTERN_EXEMPT - -", "POSTERN_MAX_CONNECTIONS 10000 from the fd limit"} {
		found := false
		for line := range strings.Lines(lines) {
			found = found || strings.Join(strings.Fields(line), " ") == want
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, lines)
		}
	}
}

// TestTableFits 100 columns, whatever the values.
func TestTableFits(t *testing.T) {
	long := strings.Repeat("mail.example.org:993,", 20) + "mail.example.org:995"
	out := table(t, "POSTERN_IMAP_BACKENDS="+long, "POSTERN_STATUS_NAME="+strings.Repeat("ö", 200))
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > tableWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(out, "mail.example.org:993,") || !strings.Contains(out, "...") {
		t.Errorf("got\n%s", out)
	}
	for _, s := range settings() {
		if !strings.Contains(out, Prefix+s.Name+" ") {
			t.Errorf("no line for %s", s.Name)
		}
	}
}

func TestDescribe(t *testing.T) {
	c, err := load(testbed.Environ("POSTERN_LIMIT_SOURCE=20/10m", "POSTERN_WEBHOOK_URL=https://chat.example/secret"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Describe(&out, []string{"limit_source", "POSTERN_WEBHOOK_URL"}); err != nil {
		t.Fatal(err)
	}
	const want = `POSTERN_LIMIT_SOURCE
  denied logins per source
  value    20/10m
  default  10/10m
  accepts  tokens/time such as 10/10m, or off
  changes  at SIGHUP
POSTERN_WEBHOOK_URL
  receivers of Alertmanager webhooks that get the alerts directly
  value    (hidden)
  default  -
  accepts  URLs such as https://host/path, separated by commas
  changes  after a restart
`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

// TestUnknownNames are refused with the nearest one.
func TestUnknownNames(t *testing.T) {
	for name, want := range map[string]string{
		"POSTERN_LIMIT_SORUCE": "POSTERN_LIMIT_SORUCE: unknown setting; did you mean POSTERN_LIMIT_SOURCE?",
		"tls_certs":            "POSTERN_TLS_CERTS: unknown setting; did you mean POSTERN_TLS_CERT?",
		"x":                    "POSTERN_X: unknown setting; `postern config` lists the settings",
	} {
		if err := CheckNames([]string{"TRIES", name}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		var c Config
		if err := c.WriteJSON(&bytes.Buffer{}, []string{name}); err == nil {
			t.Errorf("%s: written as JSON", name)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	c, err := load(testbed.Environ("POSTERN_TRIES=5", "POSTERN_WEBHOOK_URL=https://chat.example/secret"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{nil, {"TRIES"}} {
		var out bytes.Buffer
		if err := c.WriteJSON(&out, names); err != nil {
			t.Fatal(err)
		}
		var all []described
		if err := json.Unmarshal(out.Bytes(), &all); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "secret") || len(all) != len(settings()) && len(all) != len(names) {
			t.Errorf("%q: got\n%s", names, &out)
		}
		for _, d := range all {
			if d.Name == "POSTERN_TRIES" && (d.Value != "5" || d.Default != "3" || !d.Changed || d.Live) {
				t.Errorf("got %+v", d)
			}
		}
	}
}

// TestMarkdownHasEverySettingOnce, in one of the two tables.
func TestMarkdownHasEverySettingOnce(t *testing.T) {
	for _, s := range settings() {
		row := "| `" + Prefix + s.Name + "` |"
		common, rest := strings.Count(Markdown(true), row), strings.Count(Markdown(false), row)
		if common+rest != 1 || (common == 1) != s.Common {
			t.Errorf("%s: %d times in the first table, %d times in the second", s.Name, common, rest)
		}
	}
}
