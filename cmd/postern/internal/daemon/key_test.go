package daemon

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// keyConfig are settings with a state directory and a key file.
func keyConfig(t *testing.T, dir stateDir, keyFile string) *config.Config {
	t.Helper()
	c, err := config.Load(testbed.Environ(prefix+"STATE_DIR="+string(dir), prefix+"KEY_FILE="+keyFile))
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestKeyFileForms are 32 octets and 64 hex digits, with or without a line end.
func TestKeyFileForms(t *testing.T) {
	want := limiter.Key{0: 0x20, 9: 7, 31: '\n'} // begins and ends with white space
	for _, text := range []string{string(want[:]), hex.EncodeToString(want[:]), strings.ToUpper(hex.EncodeToString(want[:])) + "\r\n"} {
		if got, err := readKeyFile(testbed.WriteFile(t, text)); err != nil || got != want {
			t.Errorf("%q: got %x, %v, want %x", text, got, err, want)
		}
	}
}

func TestKeyFileErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, tt := range map[string]struct{ path, want string }{
		"missing":   {missing, "no such file"},
		"directory": {t.TempDir(), "POSTERN_KEY_FILE: "},
		"empty":     {testbed.WriteFile(t, ""), "neither 32 octets nor 64 hex digits"},
		"short":     {testbed.WriteFile(t, strings.Repeat("ab", 31)), "neither 32 octets nor 64 hex digits"},
		"long":      {testbed.WriteFile(t, strings.Repeat("ab", 33)), "neither 32 octets nor 64 hex digits"},
		"no hex":    {testbed.WriteFile(t, strings.Repeat("xy", 32)), "neither 32 octets nor 64 hex digits"},
		"huge":      {testbed.WriteFile(t, strings.Repeat("ab", 1<<20)), "neither 32 octets nor 64 hex digits"},
	} {
		_, err := readKeyFile(tt.path)
		if err == nil || !strings.HasPrefix(err.Error(), "POSTERN_KEY_FILE: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "abab") || strings.Contains(err.Error(), "xyxy")) {
			t.Errorf("%s: the error has the key: %v", name, err)
		}
	}
	for mode, good := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o604: false, 0o602: false, 0o601: false} {
		path := testbed.WriteFile(t, strings.Repeat("k", 32))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeyFile(path); (err == nil) != good || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("mode %04o", mode)) {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
}

// TestKeyFileWithTheKeyOfBefore keeps what was learned, and so does its removal.
func TestKeyFileWithTheKeyOfBefore(t *testing.T) {
	dir := withKnownUser(t, filepath.Join(t.TempDir(), "state"))
	key, path, err := CurrentKey(keyConfig(t, dir, ""))
	if err != nil || path != dir.path(keyFile) {
		t.Fatalf("got the key in %q, %v", path, err)
	}
	file := testbed.WriteFile(t, hex.EncodeToString(key[:]))
	for _, setting := range []string{file, ""} {
		g, client := restart(t, dir, prefix+"KEY_FILE="+setting)
		if client != "known" {
			t.Errorf("KEY_FILE=%s: the client is a %s", setting, client)
		}
		if text := g.log.String(); strings.Contains(text, "event=state") {
			t.Errorf("KEY_FILE=%s: the log has\n%s", setting, text)
		}
		g.close()
	}
}

// TestKeyFileWithAnotherKey: what was learned is set aside once, with a warning that says how to keep it.
func TestKeyFileWithAnotherKey(t *testing.T) {
	dir := withKnownUser(t, filepath.Join(t.TempDir(), "state"))
	before, err := dir.readKey()
	if err != nil {
		t.Fatal(err)
	}
	file := testbed.WriteFile(t, strings.Repeat("k", 32))
	g, client := restart(t, dir, prefix+"KEY_FILE="+file)
	if client != "stranger" {
		t.Errorf("the client is %s", client)
	}
	g.log.Await(t, "event=state", "level=WARN", "another key", "postern key", otherKeyEnds)
	g.close()
	aside, err := dir.read(keyFile+otherKeyEnds, 99)
	if err != nil || string(aside) != string(before[:]) {
		t.Errorf("the former key is not kept: %x, %v", aside, err)
	}
	for _, name := range []string{keyFile, knownFile, keyFile + otherKeyEnds, knownFile + otherKeyEnds} {
		checkMode(t, dir.path(name))
	}
	g, client = restart(t, dir, prefix+"KEY_FILE="+file)
	if text := g.log.String(); client != "known" || strings.Contains(text, "event=state") {
		t.Errorf("after another start the client is a %s, and the log has\n%s", client, text)
	}
}

// TestCurrentKey is that of KEY_FILE, or that of STATE_DIR, or none. Nothing is created.
func TestCurrentKey(t *testing.T) {
	dir, fileKey, dirKey := stateDir(t.TempDir()), strings.Repeat("f", 32), strings.Repeat("d", 32)
	file, missing := testbed.WriteFile(t, fileKey), filepath.Join(t.TempDir(), "none")
	check := func(keyFile, want, wantPath string) {
		t.Helper()
		key, path, err := CurrentKey(keyConfig(t, dir, keyFile))
		if err != nil || want != "" && string(key[:]) != want || path != wantPath {
			t.Errorf("got %q from %q, %v, want %q from %q", key, path, err, want, wantPath)
		}
	}
	check("", "", "")
	check(missing, "", "")
	check(file, fileKey, file)
	if entries, err := os.ReadDir(string(dir)); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v in the state directory, want nothing", entries, err)
	}
	if err := dir.write(keyFile, []byte(dirKey)); err != nil {
		t.Fatal(err)
	}
	check("", dirKey, dir.path(keyFile))
	check(missing, dirKey, dir.path(keyFile)) // it is about to be made
	check(file, fileKey, file)
	if err := dir.write(keyFile, []byte("short")); err != nil {
		t.Fatal(err)
	}
	if key, path, err := CurrentKey(keyConfig(t, dir, "")); err == nil {
		t.Errorf("corrupt key: got %x from %q", key, path)
	}
}

// TestLearnUsesTheKeyFile also where no gateway has run.
func TestLearnUsesTheKeyFile(t *testing.T) {
	c := keyConfig(t, stateDir(filepath.Join(t.TempDir(), "state")), testbed.WriteFile(t, strings.Repeat("k", 32)))
	key, err := InstallKey(c, eventlog.New(testbed.NewLog(), "text", 0))
	if err != nil || string(key[:]) != strings.Repeat("k", 32) {
		t.Errorf("got %q, %v", key, err)
	}
}
