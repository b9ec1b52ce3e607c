package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseUsers(t *testing.T) {
	users, err := parseUsers(strings.NewReader("# of the test site\n\nann@example.org:with:colons \r\nbob:x\n"))
	if want := []User{{"ann@example.org", "with:colons "}, {"bob", "x"}}; err != nil || !slices.Equal(users, want) {
		t.Errorf("got %q, %v, want %q", users, err, want)
	}
	if d := users[0].domain(); d != "@example.org" {
		t.Errorf("domain: got %q", d)
	}
	if d := users[1].domain(); d != "" {
		t.Errorf("domain of a name without one: got %q", d)
	}
}

// An error names the line and shows no password.
func TestParseUsersErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "got no user",
		"# none\n":            "got no user",
		"ann:x\nsecret\n":     "line 2: want NAME:PASSWORD",
		":secret":             "line 1: want NAME:PASSWORD",
		"ann:":                "line 1: want NAME:PASSWORD",
		"ann:x\n\nann:secret": `line 3: got user "ann" again, want each once (line 1)`,
	} {
		if _, err := parseUsers(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestReadUsersNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("ann"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".none"} {
		if _, err := ReadUsers(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("got %v, want the path", err)
		}
	}
}
