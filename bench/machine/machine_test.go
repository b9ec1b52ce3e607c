package machine

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"
)

// patience bounds waiting for something that happens at once unless it is broken.
const patience = 20 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !true(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// spin starts a shell that keeps a child of its own busy, until the test ends.
func spin(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func spent(t *testing.T, pid int) time.Duration {
	t.Helper()
	d, err := Spent(pid)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The time of a child counts while it runs and after it has ended.
func TestSpentCountsTheWholeTree(t *testing.T) {
	busy := `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done`
	cmd := spin(t, `sh -c '`+busy+`; read line'; read line`)
	pid := cmd.Process.Pid
	until(t, "a busy child", func() bool { return spent(t, pid) >= 50*time.Millisecond })

	ended := spin(t, `sh -c '`+busy+`'; read line`)
	pid = ended.Process.Pid
	until(t, "the child's end", func() bool {
		procs, _, err := tree(pid)
		return err == nil && len(procs) == 1 && spent(t, pid) >= 50*time.Millisecond
	})
	if now := spent(t, os.Getpid()); now < 50*time.Millisecond {
		t.Errorf("we and our children have used %v", now)
	}
}

func TestMemoryAndDescriptors(t *testing.T) {
	memory, err := Memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 64<<20)
	more, err := Memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if more-memory < 60<<20 {
		t.Errorf("%d octets more, after %d were written", more-memory, len(block))
	}
	before, err := Descriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, err := Descriptors(os.Getpid()); err != nil || after != before+10 {
		t.Errorf("%d descriptors after 10 more than %d, %v", after, before, err)
	}
}

func TestGoneProcess(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if _, err := Spent(cmd.Process.Pid); err == nil {
		t.Error("a process that has ended is read")
	}
}

// What this process and its children do is not the others'.
func TestOthers(t *testing.T) {
	w, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	cmd := spin(t, `while :; do :; done`)
	until(t, "work", func() bool { return spent(t, cmd.Process.Pid) >= 200*time.Millisecond })
	others, err := w.Others()
	if err != nil || others < 0 || others > 1 {
		t.Fatalf("others used %v, %v", others, err)
	}
	// Whatever they did, the machine was busy with us as well.
	w.own, w.busy = 0, 0
	if all, err := w.Others(); err != nil || all < others {
		t.Errorf("others used %v of the machine, with us %v, %v", others, all, err)
	}
}

func TestDescribe(t *testing.T) {
	if i := Describe(); i.Cores < 1 || i.Memory == "" || i.System == "" || i.Go == "" {
		t.Errorf("this machine is %+v", i)
	}
}
