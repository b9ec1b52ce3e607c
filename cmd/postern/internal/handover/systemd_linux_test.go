package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testDescriptor is the first descriptor of the tests of socketsFrom. Those from 3 on belong to the test program.
const testDescriptor = 700

// passDescriptors opens n descriptors from testDescriptor on, which are not close-on-exec.
func passDescriptors(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if err := syscall.Dup3(0, testDescriptor+i, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(testDescriptor + i) })
	}
}

func TestSocketsHaveNamesAndCloseOnExec(t *testing.T) {
	pid := "LISTEN_PID=" + strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct {
		environ []string
		want    []string
	}{
		"named":         {[]string{pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=imap:pop3"}, []string{"imap", "pop3"}},
		"same name":     {[]string{pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=imap:imap"}, []string{"imap", "imap"}},
		"empty names":   {[]string{pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=:"}, []string{"", ""}},
		"without names": {[]string{pid, "LISTEN_FDS=2"}, []string{"unknown", "unknown"}},
		"none":          {[]string{pid, "LISTEN_FDS=0", "LISTEN_FDNAMES="}, nil},
		"not activated": {nil, nil},
		"no number":     {[]string{pid}, nil},
		"other process": {[]string{"LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=imap:pop3"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			passDescriptors(t, 2)
			sockets, rest, err := socketsFrom(slices.Concat([]string{"A=1"}, c.environ, []string{"LISTEN_PIDFDID=1", "B=2"}), testDescriptor)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rest, []string{"A=1", "B=2"}) {
				t.Errorf("got environment %q, want only A and B", rest)
			}
			var names []string
			for _, s := range sockets {
				names = append(names, s.Name)
				if descriptorFlags(t, s.File, syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 {
					t.Errorf("%s would remain open in a program that this process starts", s.Name)
				}
				s.File.Close()
			}
			if !slices.Equal(names, c.want) {
				t.Errorf("got %q, want %q", names, c.want)
			}
		})
	}
}

func TestSocketsRefuseWhatIsNotPassed(t *testing.T) {
	pid := "LISTEN_PID=" + strconv.Itoa(os.Getpid())
	passDescriptors(t, 1)
	for want, environ := range map[string][]string{
		`LISTEN_PID: got "x", want the number of a process`:                     {"LISTEN_PID=x", "LISTEN_FDS=1"},
		`LISTEN_PID: got "0", want the number of a process`:                     {"LISTEN_PID=0", "LISTEN_FDS=1"},
		`LISTEN_FDS: got "two", want the number of descriptors`:                 {pid, "LISTEN_FDS=two"},
		`LISTEN_FDS: got "-1", want the number of descriptors`:                  {pid, "LISTEN_FDS=-1"},
		`LISTEN_FDNAMES: got 2 names, want 1, one for each of LISTEN_FDS`:       {pid, "LISTEN_FDS=1", "LISTEN_FDNAMES=a:b"},
		`LISTEN_FDS: descriptor 701: got bad file descriptor, want an open one`: {pid, "LISTEN_FDS=2"},
	} {
		if sockets, _, err := socketsFrom(environ, testDescriptor); err == nil || err.Error() != want || sockets != nil {
			t.Errorf("got %v and error %v, want %s", sockets, err, want)
		}
	}
	if err := checkOpen(testDescriptor); err != nil {
		t.Errorf("after errors: %v", err)
	}
}

// printSockets writes the sockets that it got.
func printSockets() error {
	sockets, _, err := Sockets(os.Environ())
	for _, s := range sockets {
		listener, err := net.FileListener(s.File)
		if err != nil {
			return err
		}
		fmt.Println(s.Name, listener.Addr())
	}
	return err
}

func TestActivatedProcessGetsItsSockets(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(asRole("sockets"), "LISTEN_FDS=2", "LISTEN_FDNAMES=imap:pop3")
	var want string
	for _, name := range []string{"imap", "pop3"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		f, err := listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		want += name + " " + listener.Addr().String() + "\n"
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("got %q and error %v, want %q", out, err, want)
	}
}

func TestLinkVariableIsChecked(t *testing.T) {
	passDescriptors(t, 1)
	for value, want := range map[string]string{
		"":    `HANDOVER_FD: got "", want the number of a descriptor, at least 3`,
		"2":   `HANDOVER_FD: got "2", want the number of a descriptor, at least 3`,
		"-1":  `HANDOVER_FD: got "-1", want the number of a descriptor, at least 3`,
		"999": `HANDOVER_FD: descriptor 999: got bad file descriptor, want an open one`,
		"700": `HANDOVER_FD: descriptor of a link: got no socket (`,
	} {
		link, rest, err := FromEnviron([]string{"A=1", "HANDOVER_FD=" + value})
		if link != nil || err == nil || !strings.HasPrefix(err.Error(), want) || !slices.Equal(rest, []string{"A=1"}) {
			t.Errorf("%q: got %v, %q and error %v, want %s", value, link, rest, err, want)
		}
	}
	if link, rest, err := FromEnviron([]string{"A=1"}); link != nil || err != nil || !slices.Equal(rest, []string{"A=1"}) {
		t.Errorf("without: got %v, %q and error %v, want none", link, rest, err)
	}
}

func TestNotifySendsStateAndFiles(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{filepath.Join(dir, "notify"), "@postern-test-" + strconv.Itoa(os.Getpid())} {
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer manager.Close()
		stored, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer stored.Close()
		environ := []string{"NOTIFY_SOCKET=/other", "NOTIFY_SOCKET=" + name}
		for _, c := range []struct {
			state string
			files []*os.File
		}{
			{"MAINPID=7\nREADY=1\nSTATUS=serving", nil},
			{"FDSTORE=1\nFDNAME=imap", []*os.File{stored}},
			{"FDSTORE=1\nFDNAME=two", []*os.File{os.Stdin, stored}},
			{"FDSTOREREMOVE=1\nFDNAME=imap", nil},
		} {
			if err := Notify(environ, c.state, c.files...); err != nil {
				t.Fatal(err)
			}
			state, control := make([]byte, 1000), make([]byte, 1000)
			n, controlSize, _, _, err := manager.ReadMsgUnix(state, control)
			if err != nil || string(state[:n]) != c.state {
				t.Errorf("%s: got %q and error %v, want %q", name, state[:n], err, c.state)
			}
			files, err := receivedFiles(control[:controlSize])
			if err != nil || len(files) != len(c.files) {
				t.Fatalf("%s: got %d files and error %v, want %d", name, len(files), err, len(c.files))
			}
			for i, f := range files {
				got, _ := f.Stat()
				if want, _ := c.files[i].Stat(); !os.SameFile(got, want) {
					t.Errorf("%s: file %d is not the one that was sent", name, i)
				}
				f.Close()
			}
		}
	}
}

func TestNotifyWithoutServiceManager(t *testing.T) {
	for _, environ := range [][]string{nil, {"NOTIFY_SOCKET="}, {"A=1"}} {
		if err := Notify(environ, "READY=1"); err != nil {
			t.Errorf("%q: got %v, want no error", environ, err)
		}
	}
	want := `NOTIFY_SOCKET: got "vsock:2:9", want an absolute path, or "@" and the name of an abstract socket`
	if err := Notify([]string{"NOTIFY_SOCKET=vsock:2:9"}, "READY=1"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	absent := filepath.Join(t.TempDir(), "absent")
	if err := Notify([]string{"NOTIFY_SOCKET=" + absent}, "READY=1"); !errors.Is(err, syscall.ENOENT) || !strings.HasPrefix(err.Error(), "notify the service manager: ") {
		t.Errorf("got %v, want %v", err, syscall.ENOENT)
	}
}

// TestNotifyDoesNotWaitForEver for a service manager that does not read.
func TestNotifyDoesNotWaitForEver(t *testing.T) {
	name := "@postern-test-full-" + strconv.Itoa(os.Getpid())
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for err == nil {
		err = syscall.Sendto(fd, []byte("READY=1"), 0, &syscall.SockaddrUnix{Name: name})
	}
	if err != syscall.EAGAIN {
		t.Fatal(err)
	}
	if err := notify(name, "READY=1", nil, time.Now().Add(10*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
