package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// FuzzSetting gives every setting any value. It is accepted, or refused with one
// line that names a setting.
func FuzzSetting(f *testing.F) {
	for i, s := range settings() {
		f.Add(uint(i), s.Default)
		f.Add(uint(i), "a,b,,\n")
	}
	f.Add(uint(0), "[::1%eth0]:99999,:-1")
	f.Add(uint(4), "::ffff:0:0/95,1.2.3.4/,fe80::1%lo")
	f.Add(uint(20), "9223372036854775808/1ns")
	f.Fuzz(func(t *testing.T, i uint, value string) {
		all := settings()
		s := all[i%uint(len(all))]
		if s.Name == "ENV_FILE" {
			return // any file could have that name
		}
		_, err := load(testbed.Environ(Prefix+s.Name+"="+value), testFDs)
		checkError(t, err)
	})
}

// FuzzEnvFile reads any file as settings.
func FuzzEnvFile(f *testing.F) {
	for _, text := range []string{
		"", "# nothing\n", "POSTERN_TRIES=7\nexport POSTERN_LIMIT_SOURCE=\"20/1h\" # quoted\n", "LIMIT_SOURCE=1/1s", "POSTERN_X: y",
		"POSTERN_TRIES='", "=\n=", "export", "export =", "A=\"\\", "A=$B${", "\xff=\x00", "POSTERN_EXEMPT=\"10.0.0.0/8\n10.0.0.0/8\"",
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := load(testbed.Environ("POSTERN_ENV_FILE="+path), testFDs)
		checkError(t, err)
	})
}

// checkError fails unless err is nil or one line that names a variable.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if text := err.Error(); !strings.HasPrefix(text, Prefix) || strings.ContainsAny(text, "\r\n") {
		t.Errorf("got %q", text)
	}
}
