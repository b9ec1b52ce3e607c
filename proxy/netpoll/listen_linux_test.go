package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// passOn returns a duplicate of the socket of ln, as another process gets it.
func passOn(t *testing.T, ln net.Listener) *os.File {
	t.Helper()
	f, err := ln.(*listener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// fromFile serves f.
func fromFile(t *testing.T, f *os.File) net.Listener {
	t.Helper()
	ln, err := FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// dialAndSend connects to ln, which need not accept, and sends text.
func dialAndSend(t *testing.T, ln net.Listener, text string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", ln.Addr().String(), testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.Write([]byte(text))
}

// acceptAndExpect accepts a connection that has sent text.
func acceptAndExpect(t *testing.T, ln net.Listener, text string) Conn {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	expectRead(t, c.(Conn), text)
	return c.(Conn)
}

// Two listeners serve one socket. Closing one does not disturb the other, which serves
// connections that the closed one has left in the queue.
func TestListenersShareSocket(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		for _, closed := range []string{"first", "second"} {
			t.Run(addr+" "+closed+" closed", func(t *testing.T) {
				ln, err := Listen("tcp", addr)
				if err != nil && addr == "[::1]:0" {
					t.Skip("no IPv6: ", err)
				} else if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { ln.Close() })
				other := fromFile(t, passOn(t, ln))
				if other.Addr().String() != ln.Addr().String() {
					t.Errorf("got address %v, want %v", other.Addr(), ln.Addr())
				}
				if closed == "second" {
					ln, other = other, ln
				}
				dialAndSend(t, ln, "one")
				acceptAndExpect(t, ln, "one")
				dialAndSend(t, ln, "two")
				acceptAndExpect(t, other, "two")
				dialAndSend(t, ln, "queued")
				if err := ln.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept after Close: got %v, want %v", err, net.ErrClosed)
				}
				acceptAndExpect(t, other, "queued")
				for i := range 3 {
					text := fmt.Sprint("later ", i)
					dialAndSend(t, other, text)
					acceptAndExpect(t, other, text)
				}
				other.Close()
				if _, err := Dial(other.Addr().String(), time.Now().Add(testTimeout)); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("dial after both are closed: got %v, want %v", err, syscall.ECONNREFUSED)
				}
			})
		}
	}
}

// A closed listener is no longer in epoll, though another process has its socket.
func TestCloseOfSharedSocketLeavesEpoll(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	passOn(t, ln)
	fd := ln.(*listener).conn.fd
	registered := func() bool {
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", poller.fd))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			var n int32
			if _, err := fmt.Sscanf(line, "tfd: %d", &n); err == nil && n == fd {
				return true
			}
		}
		return false
	}
	if !registered() {
		t.Fatalf("descriptor %d is not in epoll before Close", fd)
	}
	ln.Close()
	if registered() {
		t.Errorf("descriptor %d is in epoll after Close", fd)
	}
}

// A socket that another program has made, blocking and with a short queue, gets the
// options and the queue of Listen.
func TestFromFileSetsOptions(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	for _, err := range []error{syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ln := fromFile(t, f)
	if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file: got %v, want %v", err, os.ErrClosed)
	}
	const many = 20
	for i := range many { // with the short queue most of them would time out
		dialAndSend(t, ln, fmt.Sprintf("%02d", i))
	}
	for i := range many {
		expectOptions(t, acceptAndExpect(t, ln, fmt.Sprintf("%02d", i)).(*conn))
	}
	accepted := make(chan error)
	go func() {
		_, err := ln.Accept() // does not block in the system call
		accepted <- err
	}()
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: got %v, want %v", err, net.ErrClosed)
	}
}

// What is no listening TCP socket is refused and closed.
func TestFromFileRefusesOtherFiles(t *testing.T) {
	plain := listenPlain(t)
	defer plain.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	type filer interface{ File() (*os.File, error) }
	for name, c := range map[string]struct {
		socket any
		want   string
	}{
		"connected": {client, "got socket with SO_ACCEPTCONN 0, want 1"},
		"UDP":       {packets, "got socket with type 2, want 1"},
		"unix":      {local, "got socket with protocol 0, want 6"},
		"file":      {file, syscall.ENOTSOCK.Error()},
	} {
		f, isFile := c.socket.(*os.File)
		if !isFile {
			if f, err = c.socket.(filer).File(); err != nil {
				t.Fatal(err)
			}
		}
		ln, err := FromFile(f)
		if ln != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want error %q", name, ln, err, c.want)
		}
		if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: the file: got %v, want %v", name, err, os.ErrClosed)
		}
	}
}

// A duplicate is closed on exec. Using its descriptor does not make the socket blocking.
func TestFileOfListener(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	f := passOn(t, ln)
	for name, c := range map[string]struct{ command, want int }{
		"close on exec": {syscall.F_GETFD, syscall.FD_CLOEXEC},
		"non-blocking":  {syscall.F_GETFL, syscall.O_NONBLOCK},
	} {
		got, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), uintptr(c.command), 0)
		if errno != 0 || int(got)&c.want == 0 {
			t.Errorf("%s: got flags %#x, %v, want %#x", name, got, errno, c.want)
		}
	}
	ln.Close()
	if _, err := ln.(*listener).File(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("File after Close: got %v, want %v", err, net.ErrClosed)
	}
}

// Descriptors are given back, whether FromFile succeeds or not.
func TestSharedSocketsLeakNothing(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	before := openFDs(t)
	for range 10 {
		other := fromFile(t, passOn(t, ln))
		other.Close()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := FromFile(r); err == nil {
			t.Error("got a pipe served")
		}
		w.Close()
	}
	if n := openFDs(t); n != before {
		t.Errorf("got %d descriptors open, want %d", n, before)
	}
}
