//go:build linux

package packaging

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// root is the machine that the package is installed on. The default is a copy of this
// one. `make debian` makes a minimal Debian, which takes more than a minute.
var root = flag.String("root", "/", "directory with a Debian on which the package is installed")

// machine is a Debian in namespaces of its own: processes, files and network. Changes of
// its files are in memory.
type machine struct {
	pid int // of a process that lives as long as the machine
}

// boot is the script of the first process: it makes the file system and then does
// nothing. It ends if one of the programs fails.
const boot = `mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o "lowerdir=$2,upperdir=upper,workdir=work" overlay root
cd root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
rm -rf etc/postern var/lib/postern var/lib/postern-status
# No list of packages that apt would read, and no index of manual pages to renew.
mount -t tmpfs tmpfs var/lib/apt/lists
mount -t tmpfs tmpfs var/cache/apt
rm -f var/lib/man-db/auto-update
exec chroot . sh -c "echo booted; exec sleep infinity"`

// newMachine starts a machine that ends with the test. The calling goroutine stays in the
// machine's network. The test is skipped where namespaces are impossible, and fails there if CI=true.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		testbed.Unable(t, "an installation needs root")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		testbed.Unable(t, "an installation needs the right to create namespaces: %v", err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	cmd := exec.Command("sh", "-ec", boot, "sh", t.TempDir(), *root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		testbed.Unable(t, "an installation needs the right to create namespaces: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all processes of the machine
		_ = cmd.Wait()
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("booted"))); err != nil {
		t.Fatalf("the file system of the machine: %v", err)
	}
	return &machine{cmd.Process.Pid}
}

// path is where this process finds a file of the machine.
func (m *machine) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.pid), "root", name)
}

// command prepares a program inside, without the environment of this process.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	pid := strconv.Itoa(m.pid)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target=" + pid, "--mount", "--pid", "--root", "--wd=/"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	return cmd
}

// try runs a program inside and returns its exit code and what it prints.
func (m *machine) try(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	cmd := m.command(t.Context(), args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// run runs a program inside, which must succeed, and returns what it prints.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	code, out := m.try(t, args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d\n%s", args, code, out)
	}
	return out
}

// copy puts a file of this machine into another.
func (m *machine) copy(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.path(to), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
