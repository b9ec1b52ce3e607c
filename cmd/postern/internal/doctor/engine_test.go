package doctor

import (
	"os"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// keyFile makes a key file.
func keyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := testbed.WriteFile(t, text)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeyFile that gateways cannot use is a failure.
func TestKeyFile(t *testing.T) {
	good := strings.Repeat("0a", 32) + "\n"
	for name, tt := range map[string]struct {
		path  string
		level Level
		parts []string
	}{
		"hex":      {keyFile(t, good, 0o640), OK, []string{"only its owner and group"}},
		"octets":   {keyFile(t, strings.Repeat("k", 32), 0o600), OK, []string{"only its owner and group"}},
		"readable": {keyFile(t, good, 0o644), Failure, []string{"mode 0644", "chmod o= "}},
		"short":    {keyFile(t, good[2:], 0o600), Failure, []string{"neither 32 octets nor 64 hex digits"}},
		"no hex":   {keyFile(t, strings.Repeat("0g", 32), 0o600), Failure, []string{"neither 32 octets nor 64 hex digits"}},
		"missing":  {"/no/such/file", Failure, []string{"no such file", "postern key"}},
	} {
		t.Run(name, func(t *testing.T) {
			Report(loaded(t, prefix+"KEY_FILE="+tt.path).checkKeyFile(t.Context())).expect(t, tt.level, tt.parts...)
		})
	}
	if found := loaded(t).checkKeyFile(t.Context()); found != nil {
		t.Errorf("without a key file: got %v", found)
	}
}

// TestEngine that answers is OK, with its clock; one that does not is a failure.
func TestEngine(t *testing.T) {
	key := prefix + "KEY_FILE=" + keyFile(t, strings.Repeat("0a", 32), 0o600)
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	r := Report(loaded(t, key, prefix+"SHARE_URL="+e.URL()).checkEngine(t.Context()))
	r.expect(t, OK, "engine valkey://"+e.Addr(), "answers in ")
	r.expect(t, OK, "clock", "agrees with the engine")
	e.Do("ACL", "SETUSER", "default", "-time")
	Report(loaded(t, key, prefix+"SHARE_URL="+e.URL()).checkEngine(t.Context())).expect(t, Failure, "NOPERM", "POSTERN_SHARE_PASSWORD_FILE")
	Report(loaded(t, key, prefix+"SHARE_URL=valkey://127.77.0.1:1").checkEngine(t.Context())).expect(t, Failure, "engine valkey://127.77.0.1:1", "refused", "firewall")
	if found := loaded(t).checkEngine(t.Context()); found != nil {
		t.Errorf("without an engine: got %v", found)
	}
}
