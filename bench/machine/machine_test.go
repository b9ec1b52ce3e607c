package machine

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"
)

// timeout is how long to wait for a condition; long, because the machine may be
// busy.
const timeout = time.Minute

// until waits for a condition, which what describes.
func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); !true(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// spin runs a script in a shell until the test ends.
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

func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	d, err := CPUTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The CPU time of a child counts while it runs and after it has ended.
func TestCPUTimeCountsTheTree(t *testing.T) {
	busy := `i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done`
	cmd := spin(t, `sh -c '`+busy+`; read line'; read line`)
	pid := cmd.Process.Pid
	until(t, "CPU time of a busy child", func() bool { return cpuTime(t, pid) >= 50*time.Millisecond })

	ended := spin(t, `sh -c '`+busy+`'; read line`)
	pid = ended.Process.Pid
	until(t, "CPU time of a child that has ended", func() bool {
		procs, _, err := tree(pid)
		return err == nil && len(procs) == 1 && cpuTime(t, pid) >= 50*time.Millisecond
	})
	if now := cpuTime(t, os.Getpid()); now < 50*time.Millisecond {
		t.Errorf("this process and its children: got %v, want at least 50 ms", now)
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
		t.Errorf("got %d octets more, want about %d", more-memory, len(block))
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

func TestEndedProcess(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if _, err := CPUTime(cmd.Process.Pid); err == nil {
		t.Error("the CPU time of an ended process is read")
	}
}

// The load of this process and its children does not count as others.
func TestLoadMeterLeavesOutOwnLoad(t *testing.T) {
	m, err := NewLoadMeter()
	if err != nil {
		t.Fatal(err)
	}
	cmd := spin(t, `while :; do :; done`)
	until(t, "CPU time of a child", func() bool { return cpuTime(t, cmd.Process.Pid) >= 100*time.Millisecond })
	others, err := m.Others()
	if err != nil || others < 0 || others > 1 {
		t.Fatalf("got %v, %v, want 0 to 1", others, err)
	}
	// With the busy time since the start of the machine the part is larger.
	m.own, m.busy = 0, 0
	if all, err := m.Others(); err != nil || all < others {
		t.Errorf("got %v of the machine, then %v, %v, want more", others, all, err)
	}
}

func TestDescribe(t *testing.T) {
	if i := Describe(); i.Cores < 1 || i.Memory == "" || i.System == "" || i.Go == "" {
		t.Errorf("got %+v", i)
	}
}
