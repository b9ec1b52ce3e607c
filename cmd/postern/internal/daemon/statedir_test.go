package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
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

// TestStateDirIsLocked: a second gateway with the same directory does not start, and
// says which process has it. It starts once the first has ended.
func TestStateDirIsLocked(t *testing.T) {
	dir := t.TempDir()
	first := start(t, prefix+"STATE_DIR="+dir)
	site := testbed.NewSite(t, prefix+"STATE_DIR="+dir)
	want := fmt.Sprintf("POSTERN_STATE_DIR: got %s, which another postern uses (process %d), want a directory of its own for each", dir, os.Getpid())
	if err := openWith(site.Environ); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	os.WriteFile(filepath.Join(dir, lockFile), nil, 0o600)
	if err := openWith(site.Environ); err == nil || !strings.Contains(err.Error(), dir+", which another postern uses, want") {
		t.Errorf("without the process: got %v", err)
	}
	first.close()
	broken := append(site.Environ, prefix+"TLS_CERT="+dir)
	for name, environ := range map[string][]string{"after a failed start": broken, "after the end of the first": site.Environ} {
		if err := openWith(environ); (err == nil) != (name == "after the end of the first") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := openWith(site.Environ); err != nil {
		t.Error(err)
	}
	checkMode(t, filepath.Join(dir, lockFile))
}

// TestLockEndsWithTheProcess, also after SIGKILL.
func TestLockEndsWithTheProcess(t *testing.T) {
	if dir := os.Getenv(lockerDir); dir != "" {
		lock, err := stateDir(dir).lock()
		fmt.Println(err)
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			t.Error(err)
		}
		lock.Close()
		return
	}
	d := stateDir(t.TempDir())
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), lockerDir+"="+string(d))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	locked, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(locked).ReadString('\n'); line != "<nil>\n" || err != nil {
		t.Errorf("the other process: %q, %v", line, err)
	}
	if _, err := d.lock(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", cmd.Process.Pid)) {
		t.Errorf("while it runs: got %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	lock, err := d.lock()
	if err != nil {
		t.Fatalf("after its end: %v", err)
	}
	lock.Close()
}

// lockerDir in the environment makes this program lock that directory until its
// standard input ends.
const lockerDir = "POSTERN_TEST_LOCKER"

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
