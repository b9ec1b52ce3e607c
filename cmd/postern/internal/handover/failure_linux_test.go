package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openDescriptors returns how many descriptors this process has.
func openDescriptors() (int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	return len(entries), err
}

// failToStart starts what is no program, and checks the errors and that no descriptor is left.
func failToStart() error {
	dir, err := os.MkdirTemp("", "handover")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no program"), 0o700); err != nil {
		return err
	}
	private := filepath.Join(dir, "private")
	if err := os.WriteFile(private, nil, 0o600); err != nil {
		return err
	}
	_, theirs, err := Pair()
	if err != nil {
		return err
	}
	before, err := openDescriptors()
	if err != nil {
		return err
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "absent"): syscall.ENOENT, private: syscall.EACCES, dir: syscall.EACCES, text: syscall.ENOEXEC,
	} {
		process, err := Start(path, []string{path}, os.Environ(), theirs)
		if process != nil || !errors.Is(err, want) || err.Error() != fmt.Sprintf("start %s: %v", path, want) {
			return fmt.Errorf("got process %v and error %w, want %w with the path", process, err, want)
		}
	}
	if after, err := openDescriptors(); err != nil || after != before {
		return fmt.Errorf("got %d open descriptors and error %w, want %d as before", after, err, before)
	}
	return nil
}

// TestStartReportsWhyExecFails: the exit statuses are those of the children whose exec failed, which the parent reaped.
func TestStartReportsWhyExecFails(t *testing.T) { runScenario(t, "fail to start", "0 253 253 253 253") }

// startAsFirst starts a process as the first of a pid namespace.
func startAsFirst() error {
	_, _, err := startRole("answer")
	fmt.Print(err)
	return nil
}

func TestFirstProcessOfContainerStartsNoOther(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = asRole("first")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this user may not create namespaces: ", err)
	}
	want := "start /proc/self/exe: this process is the first of its container, and its end would end the container"
	if err != nil || string(out) != want {
		t.Errorf("got %q and error %v, want %q", out, err, want)
	}
}

// exchange sends messages of several packets with a descriptor over link, until the end, and checks that those that come
// back are whole. After a number of them it calls kill.
func exchange(link *Link, number int, kill func()) error {
	sent := make(chan error, 1)
	payload := random(3 * maxPart)
	go func() {
		for {
			if err := link.Send(1, payload, os.Stderr); err != nil {
				sent <- err
				return
			}
		}
	}()
	for i := 0; ; i++ {
		if i == number {
			go kill() // while the messages go on
		}
		m, err := link.Receive()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		closeFiles(m.Files)
		if len(m.Files) != 1 || !bytes.Equal(m.Payload, payload) {
			return fmt.Errorf("got a message of %d octets and %d descriptors, want %d and 1", len(m.Payload), len(m.Files), len(payload))
		}
	}
	if err := <-sent; !errors.Is(err, io.EOF) {
		return fmt.Errorf("send: got %w, want io.EOF", err)
	}
	return nil
}

// killNext kills the process that it has started while messages are exchanged.
func killNext() error {
	link, process, err := startRole("answer")
	if err != nil {
		return err
	}
	return exchange(link, rand.IntN(50), func() { process.Kill() })
}

// beKilled kills itself while messages are exchanged. The process that it has started must end.
func beKilled() error {
	link, _, err := startRole("answer")
	if err != nil {
		return err
	}
	return exchange(link, rand.IntN(50), func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) })
}

func TestKilledProcessLeavesNoHangAndNoHalfMessage(t *testing.T) {
	for _, scenario := range []string{"kill the next", "be killed"} {
		t.Run(strings.ReplaceAll(scenario, " ", "_"), func(t *testing.T) {
			for range 10 {
				runScenario(t, scenario, "0 killed")
			}
		})
	}
}
