package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// makeKey runs `postern key`.
func makeKey(t *testing.T, environ []string, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(t.Context(), append([]string{"key"}, args...), environ, &b, &b)
	return code, b.String()
}

// TestKeyOfThisGateway is written to a file that only its owner can read, or printed.
func TestKeyOfThisGateway(t *testing.T) {
	state := t.TempDir()
	key := bytes.Repeat([]byte("k"), 32)
	if err := os.WriteFile(filepath.Join(state, "install-key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	want := hex.EncodeToString(key) + "\n"
	file := filepath.Join(t.TempDir(), "key")
	// KEY_FILE is what the command is about to make, and SHARE_URL without it would be wrong.
	environ := testbed.Environ(prefix+"STATE_DIR="+state, prefix+"SHARE_URL=valkey://localhost")
	code, out := makeKey(t, environ, file)
	if code != exitOK || !strings.Contains(out, file+" has the key in "+filepath.Join(state, "install-key")) || !strings.Contains(out, "set POSTERN_KEY_FILE="+file) || strings.Contains(out, want) {
		t.Errorf("exit %d, %s", code, out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v, want mode 0600", info, err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
	if code, out := makeKey(t, append(environ, prefix+"KEY_FILE="+file), "-"); code != exitOK || out != want {
		t.Errorf("exit %d, %q, want %q", code, out, want)
	}
	if code, out := makeKey(t, environ, file); code != exitFailure || !strings.Contains(out, file+" exists already") {
		t.Errorf("the same file again: exit %d, %s", code, out)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("after that it has %q, %v", text, err)
	}
}

// TestNewKey without a gateway that has learned: each one differs.
func TestNewKey(t *testing.T) {
	environ := testbed.Environ()
	first, second := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "key")
	for _, file := range []string{first, second} {
		if code, out := makeKey(t, environ, file); code != exitOK || !strings.Contains(out, "has a new key") {
			t.Errorf("exit %d, %s", code, out)
		}
	}
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(second)
	if err != nil || len(a) != 65 || bytes.Equal(a, b) {
		t.Errorf("got %q and %q, %v, want two keys", a, b, err)
	}
}

// TestKeyBelongsToTheUserOfPostern if root makes it.
func TestKeyBelongsToTheUserOfPostern(t *testing.T) {
	if os.Geteuid() != 0 {
		testbed.Missing(t, "a process of root")
	}
	const user = 12345
	state, file := t.TempDir(), filepath.Join(t.TempDir(), "key")
	if err := os.Chown(state, user, user+1); err != nil {
		t.Fatal(err)
	}
	if code, out := makeKey(t, testbed.Environ(prefix+"STATE_DIR="+state), file); code != exitOK {
		t.Fatalf("exit %d, %s", code, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != user || owner.Gid != user+1 {
		t.Errorf("the file belongs to %d:%d, want %d:%d", owner.Uid, owner.Gid, user, user+1)
	}
}

func TestKeyMistakes(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "install-key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := testbed.WriteFile(t, strings.Repeat("k", 32))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	for name, tt := range map[string]struct {
		environ []string
		args    []string
		code    int
		want    string
	}{
		"no file":           {testbed.Environ(), nil, exitUsage, "postern key: got 0 files, want 1; - prints the key"},
		"two files":         {testbed.Environ(), []string{"a", "b"}, exitUsage, "postern key: got 2 files, want 1"},
		"no directory":      {testbed.Environ(), []string{"/no/such/key"}, exitFailure, "postern: make the key file: open /no/such/key: no such file"},
		"corrupt key":       {testbed.Environ(prefix + "STATE_DIR=" + state), []string{file}, exitFailure, "got 5 octets, want 32"},
		"key file too open": {testbed.Environ(prefix + "KEY_FILE=" + open), []string{file}, exitFailure, "POSTERN_KEY_FILE: got " + open + " with mode 0644"},
		"no settings":       {testbed.Environ(prefix + "ENV_FILE=/no/such/env"), []string{file}, exitFailure, "POSTERN_ENV_FILE: "},
	} {
		if code, out := makeKey(t, tt.environ, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit %d, %q, want %d, %q", name, code, out, tt.code, tt.want)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: the file was made", name)
		}
	}
}
