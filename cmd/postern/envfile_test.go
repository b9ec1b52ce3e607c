package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFile puts text into a new file and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvFile(t *testing.T) {
	path := writeFile(t, `
# what the night shift may change
export POSTERN_TRIES=7
POSTERN_LIMIT_SOURCE="20/1h" # quoted
GOMEMLIMIT=1GiB
`)
	c, err := load(sane("POSTERN_ENV_FILE="+path, "POSTERN_LIMIT_OPEN=5"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Tries != 7 || c.Limits.Source.String() != "20/1h" || c.Limits.Open != 5 {
		t.Errorf("got %+v", c.Limits)
	}
}

func TestEnvironmentWinsOverEnvFile(t *testing.T) {
	path := writeFile(t, "POSTERN_TRIES=7\n")
	c, err := load(sane("POSTERN_ENV_FILE="+path, "POSTERN_TRIES=2"), testFDs)
	if err != nil || c.Limits.Tries != 2 {
		t.Errorf("got %d, %v", c.Limits.Tries, err)
	}
}

func TestEnvFileComplaints(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a line without a value":   {"POSTERN_TRIES\n", "POSTERN_ENV_FILE: read settings "},
		"a quote that never ends":  {"POSTERN_TRIES=\"3\n", "unterminated quoted value"},
		"a prefix forgotten":       {"LIMIT_SOURCE=10/1m\n", "LIMIT_SOURCE: did you mean POSTERN_LIMIT_SOURCE?"},
		"a file that names a file": {"POSTERN_ENV_FILE=/etc/other\n", "POSTERN_ENV_FILE: takes effect in the environment only"},
		"a setting unheard of":     {"POSTERN_TRIEZ=3\n", "POSTERN_TRIEZ: is not a setting; did you mean POSTERN_TRIES?"},
		"a value that is wrong":    {"POSTERN_TRIES=three\n", `POSTERN_TRIES: "three": takes a number from 1 on`},
		"a value across two lines": {"POSTERN_TRIES=\"1\n2\"\n", `POSTERN_TRIES: "1\n2": takes a number from 1 on`},
		"not text at all":          {"\x00\x01\x02=\n\n\x7fELF", "POSTERN_ENV_FILE: read settings "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(sane("POSTERN_ENV_FILE="+writeFile(t, tt.text)), testFDs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}
