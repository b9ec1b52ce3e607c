package config

import (
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

func TestEnvFile(t *testing.T) {
	path := testbed.WriteFile(t, `
# limits
export POSTERN_TRIES=7
POSTERN_LIMIT_SOURCE="20/1h" # quoted
GOMEMLIMIT=1GiB
`)
	c, err := load(testbed.Environ("POSTERN_ENV_FILE="+path, "POSTERN_LIMIT_OPEN=5"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Tries != 7 || c.Limits.Source.String() != "20/1h" || c.Limits.Open != 5 {
		t.Errorf("got %+v", c.Limits)
	}
}

func TestEnvironmentHasPrecedenceOverEnvFile(t *testing.T) {
	path := testbed.WriteFile(t, "POSTERN_TRIES=7\n")
	c, err := load(testbed.Environ("POSTERN_ENV_FILE="+path, "POSTERN_TRIES=2"), testFDs)
	if err != nil || c.Limits.Tries != 2 {
		t.Errorf("got %d, %v", c.Limits.Tries, err)
	}
}

func TestEnvFileErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"line without a value":   {"POSTERN_TRIES\n", "POSTERN_ENV_FILE: read settings "},
		"quote without end":      {"POSTERN_TRIES=\"3\n", "unterminated quoted value"},
		"name without prefix":    {"LIMIT_SOURCE=10/1m\n", "LIMIT_SOURCE: did you mean POSTERN_LIMIT_SOURCE?"},
		"file that names a file": {"POSTERN_ENV_FILE=/etc/other\n", "POSTERN_ENV_FILE: has effect in the environment only"},
		"unknown setting":        {"POSTERN_TRIEZ=3\n", "POSTERN_TRIEZ: unknown setting; did you mean POSTERN_TRIES?"},
		"wrong value":            {"POSTERN_TRIES=three\n", `POSTERN_TRIES: got "three", want a number of at least 1`},
		"value across two lines": {"POSTERN_TRIES=\"1\n2\"\n", `POSTERN_TRIES: got "1\n2", want a number of at least 1`},
		"binary file":            {"\x00\x01\x02=\n\n\x7fELF", "POSTERN_ENV_FILE: read settings "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(testbed.Environ("POSTERN_ENV_FILE="+testbed.WriteFile(t, tt.text)), testFDs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}
