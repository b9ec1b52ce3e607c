package handover

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ends returns the two ends of a link, which the test closes.
func ends(t *testing.T) (a, b *Link) {
	t.Helper()
	a, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = FromFile(theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// receive returns the next message of l, which must be there or come.
func receive(t *testing.T, l *Link) Message {
	t.Helper()
	m, err := l.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// send sends a message over l.
func send(t *testing.T, l *Link, kind Kind, payload []byte, files ...*os.File) {
	t.Helper()
	if err := l.Send(kind, payload, files...); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesOfAnySizeArriveWhole(t *testing.T) {
	a, b := ends(t)
	sizes := []int{0, 1, maxPart - 1, maxPart, maxPart + 1, 2 * maxPart, 2*maxPart + 1, 5 << 20}
	sent := make(chan error, 1)
	go func() {
		for i, n := range sizes {
			if err := a.Send(Kind(i), random(n)); err != nil {
				sent <- err
				return
			}
		}
		sent <- a.Close()
	}()
	for i, n := range sizes {
		m := receive(t, b)
		if m.Kind != Kind(i) || !bytes.Equal(m.Payload, random(n)) || m.Files != nil {
			t.Errorf("message %d: got kind %d, %d octets and %d files, want %d octets as sent", i, m.Kind, len(m.Payload), len(m.Files), n)
		}
	}
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("after the last message: got %v, want io.EOF", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestConcurrentMessagesDoNotMix(t *testing.T) {
	a, b := ends(t)
	const senders, each = 8, 20
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for range each {
				if err := a.Send(Kind(s), bytes.Repeat([]byte{byte(s)}, 100_000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range senders * each {
		m := receive(t, b)
		if want := bytes.Repeat([]byte{byte(m.Kind)}, 100_000); !bytes.Equal(m.Payload, want) {
			t.Fatalf("message of kind %d: got a payload with octets of others", m.Kind)
		}
	}
	group.Wait()
}

// descriptorFlags returns a kind of flags of f: syscall.F_GETFD or syscall.F_GETFL.
func descriptorFlags(t *testing.T, f syscall.Conn, command uintptr) int {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags uintptr
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) { flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, command, 0) })
	if err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	return int(flags)
}

func TestFilesArriveInOrderAndCloseOnExec(t *testing.T) {
	a, b := ends(t)
	var sent []*os.File
	for range MaxFiles {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sent = append(sent, f)
	}
	go a.Send(1, random(3*maxPart), sent...)
	m := receive(t, b)
	if len(m.Files) != len(sent) || len(m.Payload) != 3*maxPart {
		t.Fatalf("got %d files and %d octets, want %d and %d", len(m.Files), len(m.Payload), len(sent), 3*maxPart)
	}
	for i, f := range m.Files {
		defer f.Close()
		got, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if want, err := sent[i].Stat(); err != nil || !os.SameFile(got, want) {
			t.Errorf("file %d is not the one that was sent (%v)", i, err)
		}
		if descriptorFlags(t, f, syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 {
			t.Errorf("file %d would remain open in a program that this process starts", i)
		}
	}
}

// TestPassedListenerStaysNonBlocking: the flag belongs to all processes that have the socket. Without it, the sender
// could not stop accepting.
func TestPassedListenerStaysNonBlocking(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	a, b := ends(t)
	send(t, a, 1, nil, f)
	f.Close()
	received := receive(t, b).Files[0]
	passed, err := net.FileListener(received)
	if err != nil {
		t.Fatal(err)
	}
	received.Close()
	defer passed.Close()
	if descriptorFlags(t, listener.(*net.TCPListener), syscall.F_GETFL)&syscall.O_NONBLOCK == 0 {
		t.Error("the listener of the sender is blocking")
	}
	listener.Close()
	client, err := net.Dial("tcp", passed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	conn, err := passed.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSendRefusesWhatIsTooLarge(t *testing.T) {
	a, _ := ends(t)
	payload, err := syscall.Mmap(-1, 0, MaxPayload+1, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(payload)
	want := "send a message of kind 3: got 1073741825 octets, want at most 1073741824"
	if err := a.Send(3, payload); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want = "send a message of kind 3: got 65 descriptors, want at most 64"
	if err := a.Send(3, nil, make([]*os.File, MaxFiles+1)...); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := a.Send(3, nil, closed); err == nil || !strings.Contains(err.Error(), "descriptor 0: ") {
		t.Errorf("a closed file: got %v, want an error that names it", err)
	}
}

// TestNothingIsLostWhenOtherEndCloses: Linux reports the unread messages of the other end before those that it has sent.
func TestNothingIsLostWhenOtherEndCloses(t *testing.T) {
	a, b := ends(t)
	send(t, a, 1, []byte("unread"))
	send(t, b, 2, []byte("last"))
	b.Close()
	if m := receive(t, a); m.Kind != 2 || string(m.Payload) != "last" {
		t.Errorf("got %v, want the last message", m)
	}
	for range 2 {
		if _, err := a.Receive(); err != io.EOF {
			t.Errorf("receive: got %v, want io.EOF", err)
		}
		if err := a.Send(1, nil); !errors.Is(err, io.EOF) {
			t.Errorf("send: got %v, want io.EOF", err)
		}
	}
}

func TestCloseEndsBlockedReceive(t *testing.T) {
	a, _ := ends(t)
	failed := make(chan error)
	go func() {
		_, err := a.Receive()
		failed <- err
	}()
	a.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

func TestReceiveGoesOnAfterDeadline(t *testing.T) {
	a, b := ends(t)
	if _, err := a.conn.Write(packet(1, flagFirst, 0, 2, "x")); err != nil {
		t.Fatal(err)
	}
	p, files, err := b.readPacket()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.in.add(p, files); err != nil {
		t.Fatal(err)
	}
	b.SetDeadline(past)
	if _, err := b.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if _, err := b.File(); err == nil || !strings.Contains(err.Error(), "got a message that is incomplete") {
		t.Errorf("pass on with half a message: got %v, want an error that says so", err)
	}
	b.SetDeadline(time.Time{})
	if _, err := a.conn.Write(packet(1, flagLast, 0, 1, "y")); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, b); string(m.Payload) != "xy" {
		t.Errorf("got %q, want the whole message", m.Payload)
	}
}

func TestSendCutOffByDeadlineIsTheLast(t *testing.T) {
	a, b := ends(t)
	failed := make(chan error)
	go func() { failed <- a.Send(1, random(8<<20)) }()
	if _, _, err := b.readPacket(); err != nil { // Send has begun, and the queue has no space for the rest.
		t.Fatal(err)
	}
	a.SetDeadline(past)
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	a.SetDeadline(time.Time{})
	if err := a.Send(2, nil); err == nil || !strings.Contains(err.Error(), "after one that was cut off") {
		t.Errorf("the next: got %v, want an error that says why", err)
	}
	if _, err := a.File(); err == nil {
		t.Error("pass on after half a message: got no error")
	}
}

func TestPassedOnLinkKeepsItsMessages(t *testing.T) {
	a, b := ends(t)
	send(t, a, 1, []byte("one"))
	send(t, a, 2, random(maxPart+1))
	if m := receive(t, b); m.Kind != 1 {
		t.Fatalf("got kind %d, want 1", m.Kind)
	}
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	over, other := ends(t)
	send(t, over, 1, nil, f)
	f.Close()
	b.Close()
	received := receive(t, other).Files[0]
	next, err := FromFile(received)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	send(t, a, 3, nil)
	if m := receive(t, next); m.Kind != 2 || !bytes.Equal(m.Payload, random(maxPart+1)) {
		t.Errorf("got kind %d with %d octets, want the message from before", m.Kind, len(m.Payload))
	}
	if m := receive(t, next); m.Kind != 3 {
		t.Errorf("got kind %d, want 3", m.Kind)
	}
	send(t, next, 4, nil)
	if m := receive(t, a); m.Kind != 4 {
		t.Errorf("got kind %d, want 4", m.Kind)
	}
}

// TestDeadlinesWorkAfterFd: Fd of a file of package net makes the socket blocking, for all that have it.
func TestDeadlinesWorkAfterFd(t *testing.T) {
	a, _ := ends(t)
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Fd()
	a.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := a.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
