package daemon

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
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
