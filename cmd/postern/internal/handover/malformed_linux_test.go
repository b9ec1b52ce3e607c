package handover

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeRaw writes a packet with n duplicates of the write end of a pipe. The read end that it returns is at its end when
// they are all closed.
func writeRaw(t *testing.T, l *Link, packet []byte, n int) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		control := syscall.UnixRights(slices.Repeat([]int{int(fd)}, n)...)
		if _, _, err := l.conn.WriteMsgUnix(packet, control, nil); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	return r
}

// checkClosed waits until the other end of the pipe r is closed.
func checkClosed(t *testing.T, r *os.File) {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("pipe: got %d octets and %v, want io.EOF", n, err)
	}
}

func TestMalformedPacketEndsReceivingAndClosesFiles(t *testing.T) {
	for name, c := range malformed {
		t.Run(name, func(t *testing.T) {
			a, b := ends(t)
			b.in.max = 100
			// First a valid message with a file. Then the packets, the last with more files than any of them announces.
			begun := writeRaw(t, a, packet(1, flagFirst|flagLast, 1, 0, ""), 1)
			for _, p := range c.packets[:len(c.packets)-1] {
				if _, err := a.conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			atFault := writeRaw(t, a, c.packets[len(c.packets)-1], 2)
			m := receive(t, b)
			_, err := b.Receive()
			if err == nil || !strings.HasPrefix(err.Error(), "receive a message: ") {
				t.Errorf("got %v, want an error that says what was being done", err)
			}
			checkClosed(t, atFault)
			closeFiles(m.Files)
			checkClosed(t, begun)
			send(t, a, 1, nil)
			if _, again := b.Receive(); again != err {
				t.Errorf("the next: got %v, want %v again", again, err)
			}
		})
	}
}

func TestTruncatedPacketIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		files  int
		want   string
	}{
		"too many octets": {make([]byte, maxPacket+1), 1, "got more than 65536 octets"},
		"too many files":  {packet(1, flagFirst|flagLast, MaxFiles, 0, ""), MaxFiles + 1, "got only 64 of its descriptors"},
		"most files":      {packet(1, flagFirst|flagLast, MaxFiles, 0, ""), 253, "got only 64 of its descriptors"},
		"unannounced":     {packet(1, flagFirst|flagLast, 1, 0, ""), 2, "got 2 descriptors, want 1"},
		"in the middle":   {packet(1, flagLast, 0, 1, "y"), 1, "got 1 descriptors, want 0"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := ends(t)
			r := writeRaw(t, a, c.packet, c.files)
			if _, err := b.Receive(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			checkClosed(t, r)
		})
	}
}

// TestFilesOfHalfAMessageAreClosed: the other end was closed before the last packet.
func TestFilesOfHalfAMessageAreClosed(t *testing.T) {
	a, b := ends(t)
	r := writeRaw(t, a, packet(1, flagFirst, 1, 2, "x"), 1)
	a.Close()
	if m, err := b.Receive(); err != io.EOF {
		t.Errorf("got %v and %v, want io.EOF", m, err)
	}
	checkClosed(t, r)
}

func TestFromFileRefusesOtherSockets(t *testing.T) {
	for name, c := range map[string]struct {
		open func() (int, error)
		want string
	}{
		"stream": {func() (int, error) { return syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0) }, "got a socket of domain 1 and type 1, want"},
		"tcp":    {func() (int, error) { return syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0) }, "got a socket of domain 2 and type 1, want"},
		"file":   {func() (int, error) { return syscall.Open(os.DevNull, syscall.O_RDWR, 0) }, "got no socket"},
	} {
		fd, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name)
		if _, err := FromFile(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: got %v, want it closed", name, err)
		}
	}
}

// TestControlMessageOfOtherTypeIsAnError, as of a socket that asks for the credentials of the sender.
func TestControlMessageOfOtherTypeIsAnError(t *testing.T) {
	a, b := ends(t)
	raw, err := b.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	sent := writeRaw(t, a, packet(1, flagFirst|flagLast, 1, 0, ""), 1)
	if _, err := b.Receive(); err == nil || !strings.Contains(err.Error(), "want SCM_RIGHTS") {
		t.Errorf("got %v, want an error about the control message", err)
	}
	checkClosed(t, sent)
}
