package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func mode0600(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
}

func TestStateDir(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), "a", "b"))
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(string(d)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info, err)
	}
	if data, err := d.read("f", 9); data != nil || err != nil {
		t.Errorf("of nothing it reads %q, %v", data, err)
	}
	for _, text := range []string{"one", "another", ""} {
		if err := d.write("f", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := d.read("f", 7); string(data) != text || err != nil {
			t.Errorf("it reads %q, %v; want %q", data, err, text)
		}
		mode0600(t, d.path("f"))
	}
	d.write("f", []byte("too long"))
	if data, err := d.read("f", 7); err == nil {
		t.Errorf("it reads %q, which is too long", data)
	}
	for range 2 { // the second takes the place of the first
		if err := d.setAside("f"); err != nil {
			t.Fatal(err)
		}
		d.write("f", []byte("again"))
	}
	if files, _ := filepath.Glob(d.path("*")); len(files) != 2 {
		t.Errorf("left are %q", files)
	}
}

// Whatever a draft was like that a crash has left behind, the next one is private
// and takes its place.
func TestStateDirTakesOldDrafts(t *testing.T) {
	d := stateDir(t.TempDir())
	os.WriteFile(d.path("f.new"), bytes.Repeat([]byte("x"), 1000), 0o666)
	if err := d.write("f", []byte("text")); err != nil {
		t.Fatal(err)
	}
	mode0600(t, d.path("f"))
	if data, _ := d.read("f", 10); string(data) != "text" {
		t.Errorf("it reads %q", data)
	}
}

func TestStateDirFails(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), "none"))
	if err := d.write("f", nil); err == nil {
		t.Error("it writes into no folder")
	}
	if err := d.setAside("f"); err == nil {
		t.Error("it sets aside what is not there")
	}
	d = stateDir(t.TempDir())
	os.Mkdir(d.path("f"), 0o700)
	if _, err := d.read("f", 10); err == nil {
		t.Error("it reads a folder")
	}
	if err := d.write("f", nil); err == nil {
		t.Error("it writes over a folder")
	}
}

// A reader sees a whole file while it is written again and again.
func TestStateDirIsAtomic(t *testing.T) {
	d := stateDir(t.TempDir())
	d.write("f", pattern('a'))
	var writing sync.WaitGroup
	writing.Go(func() {
		for range 20 {
			d.write("f", pattern('b'))
			d.write("f", pattern('a'))
		}
	})
	for range 200 {
		checkPattern(t, d)
	}
	writing.Wait()
}

// pattern is a large file of one letter.
func pattern(c byte) []byte { return bytes.Repeat([]byte{c}, 1<<20) }

// checkPattern fails unless f holds a whole pattern.
func checkPattern(t *testing.T, d stateDir) {
	t.Helper()
	data, err := d.read("f", 2<<20)
	if err != nil || len(data) != 1<<20 || !bytes.Equal(data, pattern(data[0])) {
		t.Fatalf("%d octets, %v", len(data), err)
	}
}

// beWriter makes the test's program write patterns into that folder until it is
// killed.
const beWriter = "POSTERN_TEST_WRITER"

// TestStateDirOutlivesSIGKILL kills a writer again and again, at any moment. What
// it leaves is whole, and so is what the next one makes of it.
func TestStateDirOutlivesSIGKILL(t *testing.T) {
	if dir := os.Getenv(beWriter); dir != "" {
		for c := byte(0); ; c++ {
			stateDir(dir).write("f", pattern('a'+c%26))
		}
	}
	d := stateDir(t.TempDir())
	d.write("f", pattern('a'))
	for i := range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStateDirOutlivesSIGKILL$")
		cmd.Env = append(os.Environ(), beWriter+"="+string(d))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(20+7*i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		checkPattern(t, d)
		if files, _ := filepath.Glob(d.path("*")); len(files) > 2 {
			t.Fatalf("left are %q", files)
		}
	}
}
