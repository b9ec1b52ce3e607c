//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// nestedSystemd is a systemd in namespaces of its own. It has no units but those
// in dir and the ones they need.
type nestedSystemd struct {
	dir string       // files that it sees; see testdata/nested-systemd
	log *testbed.Log // of systemd, and of services with StandardError=append:/dev/kmsg
	pid int          // of systemd, outside of its namespaces
}

// bootSystemd starts a systemd that runs until the test ends. It skips the test on
// a machine where that is impossible: this needs root with the right to create
// namespaces, and a cgroup2 file system. systemd must be installed if CI=true.
func bootSystemd(t *testing.T, units map[string]string) *nestedSystemd {
	t.Helper()
	if _, err := os.Stat("/usr/lib/systemd/systemd"); err != nil {
		testbed.Missing(t, "systemd")
	}
	if os.Getuid() != 0 {
		t.Skip("a nested systemd needs root")
	}
	group := newCgroup(t)
	s := &nestedSystemd{dir: t.TempDir(), log: testbed.NewLog()}
	s.writeFiles(t, units)
	s.openLog(t)
	cmd := exec.Command("/bin/sh", "testdata/nested-systemd", s.dir)
	cmd.Stderr = s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWCGROUP,
		UseCgroupFD:  true,
		CgroupFD:     int(group.Fd()),
		Pdeathsig:    syscall.SIGKILL, // if the tests are killed
	}
	err := cmd.Start()
	group.Close()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("a nested systemd needs the right to create namespaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the kernel then kills every process in the PID namespace, before Wait returns
		_ = cmd.Wait()
	})
	s.log.Await(t, "Reached target basic.target")
	return s
}

// newCgroup returns a new cgroup below that of this process. It ends with the test.
func newCgroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut("\n"+string(own), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			dir, err := os.MkdirTemp(filepath.Join(f[1], path), "postern-test-")
			if err != nil {
				t.Skipf("a nested systemd needs a cgroup: %v", err)
			}
			t.Cleanup(func() { removeCgroups(t, dir) })
			group, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			return group
		}
	}
	t.Skip("a nested systemd needs a cgroup2 file system, and none is mounted")
	return nil
}

// removeCgroups removes the cgroup dir and those below it, which have no processes.
func removeCgroups(t *testing.T, dir string) {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// writeFiles writes units and what systemd needs beside them.
func (s *nestedSystemd) writeFiles(t *testing.T, units map[string]string) {
	t.Helper()
	files := map[string]string{
		"root/": "", "bin/": "",
		"etc/machine-id":    strings.Repeat("0123456789abcdef", 2) + "\n",
		"etc/os-release":    "ID=test\n",
		"etc/passwd":        fmt.Sprintf("root:x:0:0::/:/bin/sh\npostern:x:%d:%[1]d::/nonexistent:/bin/false\n", posternUser),
		"etc/group":         fmt.Sprintf("root:x:0:\npostern:x:%d:\n", posternUser),
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n",
	}
	for _, target := range []string{"basic", "sysinit", "shutdown", "sockets", "multi-user", "network-online", "nss-lookup"} {
		files["etc/systemd/system/"+target+".target"] = "[Unit]\nDefaultDependencies=no\n"
	}
	for name, text := range units {
		files["etc/systemd/system/"+name] = text
	}
	for name, text := range files {
		s.write(t, name, text)
	}
}

// posternUser is the number of the user postern in a nestedSystemd.
const posternUser = 990

// write replaces a file below s.dir, or makes a directory if the name ends with a
// slash.
func (s *nestedSystemd) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	dir := filepath.Dir(path)
	if strings.HasSuffix(name, "/") {
		dir = path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir == path {
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// openLog makes the named pipe kmsg and reads it into s.log until the test ends.
func (s *nestedSystemd) openLog(t *testing.T) {
	t.Helper()
	path := filepath.Join(s.dir, "kmsg")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(s.log, pipe)
		close(done)
	}()
	t.Cleanup(func() {
		pipe.Close()
		<-done
		if t.Failed() {
			t.Logf("log of systemd and services:\n%s", s.log)
		}
	})
}

// run runs a program inside and returns its exit code and what it prints.
func (s *nestedSystemd) run(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testbed.Patience)
	defer cancel()
	text, err := exec.CommandContext(ctx, "nsenter", append([]string{"--all", "--target", strconv.Itoa(s.pid)}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s: %v\n%s", args, err, text)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, strings.TrimSpace(string(text))
}

// systemctl runs systemctl, which must succeed.
func (s *nestedSystemd) systemctl(t *testing.T, args ...string) string {
	t.Helper()
	code, output := s.run(t, append([]string{"systemctl"}, args...)...)
	if code != 0 {
		t.Fatalf("systemctl %s: exit code %d\n%s", args, code, output)
	}
	return output
}

// property returns a property of postern.service.
func (s *nestedSystemd) property(t *testing.T, name string) string {
	t.Helper()
	return s.systemctl(t, "show", "postern.service", "--value", "--property="+name)
}

// await waits until a property of postern.service is as wanted, and returns it.
func (s *nestedSystemd) await(t *testing.T, name string, wanted func(string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testbed.Patience)
	defer cancel()
	for {
		value := s.property(t, name)
		if wanted(value) {
			return value
		}
		if ctx.Err() != nil {
			t.Fatalf("%s of postern.service: still %q", name, value)
		}
	}
}
