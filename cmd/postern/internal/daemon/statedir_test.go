package daemon

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
)

// checkMode fails the test unless the file at path has mode 0600.
func checkMode(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
}

func TestStateDir(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), "a", "b"))
	if err := d.create(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(string(d)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
	if data, err := d.read("f", 9); data != nil || err != nil {
		t.Errorf("absent: got %q, %v", data, err)
	}
	for _, text := range []string{"one", "another", ""} {
		if err := d.write("f", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := d.read("f", 7); string(data) != text || err != nil {
			t.Errorf("got %q, %v; want %q", data, err, text)
		}
		checkMode(t, d.path("f"))
	}
	d.write("f", []byte("too long"))
	if data, err := d.read("f", 7); err == nil {
		t.Errorf("too long: got %q", data)
	}
}

// TestDiscardRenames a corrupt file, in the place of one from before, and logs the
// cause.
func TestDiscardRenames(t *testing.T) {
	d := stateDir(t.TempDir())
	out := testbed.NewLog()
	log := eventlog.New(out, "text", slog.LevelInfo)
	for range 2 {
		d.write("f", []byte("corrupt"))
		d.discard("f", errors.New("checksum"), log)
		if files, _ := filepath.Glob(d.path("*")); len(files) != 1 || files[0] != d.path("f.damaged") {
			t.Errorf("the files are %q", files)
		}
	}
	out.Await(t, "level=ERROR", "state file corrupt: renamed to "+d.path("f.damaged")+", starting empty", "error=checksum")
	d.discard("g", errors.New("checksum"), log)
	out.Await(t, "level=ERROR", "cannot be renamed", "no such file")
}

// TestStateDirReplacesDrafts: a draft that a crash has left behind is replaced,
// whatever its mode and length.
func TestStateDirReplacesDrafts(t *testing.T) {
	d := stateDir(t.TempDir())
	os.WriteFile(d.path("f.new"), bytes.Repeat([]byte("x"), 1000), 0o666)
	if err := d.write("f", []byte("text")); err != nil {
		t.Fatal(err)
	}
	checkMode(t, d.path("f"))
	if data, _ := d.read("f", 10); string(data) != "text" {
		t.Errorf("got %q", data)
	}
}

func TestStateDirErrors(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), "none"))
	if err := d.write("f", nil); err == nil {
		t.Error("wrote into a directory that does not exist")
	}
	d = stateDir(t.TempDir())
	os.Mkdir(d.path("f"), 0o700)
	if _, err := d.read("f", 10); err == nil {
		t.Error("read a directory")
	}
	if err := d.write("f", nil); err == nil {
		t.Error("replaced a directory")
	}
}

// TestStateDirIsAtomic: a reader never sees a part of a file that is being
// written.
func TestStateDirIsAtomic(t *testing.T) {
	d := stateDir(t.TempDir())
	d.write("f", pattern('a'))
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 50 {
			d.write("f", pattern('b'))
			d.write("f", pattern('a'))
		}
	}()
	for {
		checkPattern(t, d)
		select {
		case <-written:
			return
		default:
		}
	}
}

// patternSize is the size of a pattern, in octets: many pages.
const patternSize = 128 << 10

// pattern is a file of one letter.
func pattern(c byte) []byte { return bytes.Repeat([]byte{c}, patternSize) }

// checkPattern fails the test unless f holds a complete pattern.
func checkPattern(t *testing.T, d stateDir) {
	t.Helper()
	data, err := d.read("f", 2*patternSize)
	if err != nil || len(data) != patternSize || !bytes.Equal(data, pattern(data[0])) {
		t.Fatalf("%d octets, %v", len(data), err)
	}
}

// writerDir in the environment makes this program write patterns into that
// directory until it is killed.
const writerDir = "POSTERN_TEST_WRITER"

// TestStateDirSurvivesSIGKILL kills a writer several times, each time at another
// point. What it leaves is complete, and so is what the next one makes of it.
func TestStateDirSurvivesSIGKILL(t *testing.T) {
	if dir := os.Getenv(writerDir); dir != "" {
		for c := byte(0); ; c++ {
			stateDir(dir).write("f", pattern('a'+c%26))
			os.Stdout.Write([]byte{c})
		}
	}
	d := stateDir(t.TempDir())
	d.write("f", pattern('a'))
	for i := range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStateDirSurvivesSIGKILL$")
		cmd.Env = append(os.Environ(), writerDir+"="+string(d))
		written, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(written, make([]byte, 1)); err != nil {
			t.Errorf("the writer does not write: %v", err)
		}
		<-time.After(time.Duration(i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		checkPattern(t, d)
		if files, _ := filepath.Glob(d.path("*")); len(files) > 2 {
			t.Fatalf("the files are %s", strings.Join(files, ", "))
		}
	}
}
