package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Link is one end of a connection between two processes. It transports messages with descriptors, in order, each whole
// or not at all. Below it is a unix socket of type SOCK_SEQPACKET, whose queue the kernel keeps.
//
// A link can be passed on: send what File returns over another link, then close this one. The messages in the queue
// remain there for the new process. Neither Send nor Receive may be running or be called again here; the other end
// may go on and notices nothing.
type Link struct {
	conn *net.UnixConn

	send    sync.Mutex // one message at a time
	packet  []byte     // of the message that is being sent
	sendErr error      // a message was sent only in part, no other may follow

	// Only Receive uses these.
	in         joiner
	buffer     []byte
	control    []byte
	receiveErr error // of an earlier call, not by a deadline
}

// Pair returns the two ends of a new link: one for this process, and the other for [Start]. The caller closes both. As
// long as theirs is open in this process, the end of the other process is not noticed.
func Pair() (own *Link, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create a link: %w", os.NewSyscallError("socketpair", err))
	}
	own, err = FromFile(os.NewFile(uintptr(fds[0]), "link"))
	if err != nil {
		syscall.Close(fds[1])
		return nil, nil, err
	}
	return own, os.NewFile(uintptr(fds[1]), "link"), nil
}

// FromFile returns a link for the socket f, which came from [Link.File] of another process or from [Pair]. It takes over
// f, even if there is an error.
func FromFile(f *os.File) (*Link, error) {
	defer f.Close()
	if err := checkSocket(f); err != nil {
		return nil, fmt.Errorf("descriptor of a link: %w", err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor of a link: %w", err)
	}
	return &Link{conn: conn.(*net.UnixConn), in: joiner{max: MaxPayload}}, nil
}

// checkSocket returns an error if f is not a socket of the type of a link.
func checkSocket(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var domain, kind int
	var domainErr, kindErr error
	err = raw.Control(func(fd uintptr) {
		domain, domainErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DOMAIN)
		kind, kindErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
	})
	if err := errors.Join(err, domainErr, kindErr); err != nil {
		return fmt.Errorf("got no socket (%w), want a unix socket of type SOCK_SEQPACKET", err)
	}
	if domain != syscall.AF_UNIX || kind != syscall.SOCK_SEQPACKET {
		return fmt.Errorf("got a socket of domain %d and type %d, want a unix socket (%d) of type SOCK_SEQPACKET (%d)",
			domain, kind, syscall.AF_UNIX, syscall.SOCK_SEQPACKET)
	}
	return nil
}

// Send sends a message of at most [MaxPayload] octets and [MaxFiles] files. It blocks while the other end does not
// receive. Messages of concurrent calls do not mix. The caller keeps the files, and must not close them before Send
// returns; the other end gets duplicates.
//
// The error is io.EOF, wrapped, if the other end is gone. After an error in the middle of a message, as by a
// deadline, every later call fails.
func (l *Link) Send(kind Kind, payload []byte, files ...*os.File) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("send a message of kind %d: got %d octets, want at most %d", kind, len(payload), MaxPayload)
	}
	control, err := rights(files)
	if err != nil {
		return fmt.Errorf("send a message of kind %d: %w", kind, err)
	}
	l.send.Lock()
	defer l.send.Unlock()
	if l.sendErr != nil {
		return fmt.Errorf("send a message of kind %d after one that was cut off: %w", kind, l.sendErr)
	}
	for first := true; ; first = false {
		h, n := nextPart(kind, first, len(files), len(payload))
		l.packet = append(h.appendTo(l.packet[:0]), payload[:n]...)
		_, _, err := l.conn.WriteMsgUnix(l.packet, control, nil)
		if err != nil {
			err = endOf(err)
			if !first {
				l.sendErr = err
			}
			return fmt.Errorf("send a message of kind %d: %w", kind, err)
		}
		payload, control = payload[n:], nil
		if h.flags&flagLast != 0 {
			runtime.KeepAlive(files)
			return nil
		}
	}
}

// rights returns the control message that passes files on.
func rights(files []*os.File) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	if len(files) > MaxFiles {
		return nil, fmt.Errorf("got %d descriptors, want at most %d", len(files), MaxFiles)
	}
	fds := make([]int, len(files))
	for i, f := range files {
		// Not Fd: it may make the descriptor blocking, for every process that has it.
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", i, err)
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", i, err)
		}
	}
	return syscall.UnixRights(fds...), nil
}

// endOf replaces err by io.EOF if it says that the other end is gone.
func endOf(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return io.EOF
	}
	return err
}

// Receive waits for a message. Only one goroutine may call it.
//
// The error is io.EOF if the other end is gone, after all messages that it has sent. One that it has sent only in part
// is dropped. After a deadline, Receive may be called again. If what comes is no message, every later call fails.
func (l *Link) Receive() (Message, error) {
	if l.receiveErr != nil {
		return Message{}, l.receiveErr
	}
	for {
		packet, files, err := l.readPacket()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return Message{}, fmt.Errorf("receive a message: %w", err)
		}
		var message Message
		var complete bool
		if err == nil {
			message, complete, err = l.in.add(packet, files)
		}
		if err != nil {
			closeFiles(files)
			l.in.reset()
			if err != io.EOF {
				err = fmt.Errorf("receive a message: %w", err)
			}
			l.receiveErr = err
			return Message{}, err
		}
		if complete {
			return message, nil
		}
	}
}

// readPacket reads the next packet, which is valid until the next call, and its descriptors. The caller closes them even
// if there is an error.
func (l *Link) readPacket() ([]byte, []*os.File, error) {
	if l.buffer == nil {
		l.buffer = make([]byte, maxPacket)
		l.control = make([]byte, syscall.CmsgSpace(4*MaxFiles))
	}
	n, controlSize, flags, _, err := l.conn.ReadMsgUnix(l.buffer, l.control)
	if errors.Is(err, syscall.ECONNRESET) {
		// The other end was closed with packets of ours unread. Linux says so once, before the packets it has sent.
		n, controlSize, flags, _, err = l.conn.ReadMsgUnix(l.buffer, l.control)
	}
	files, rightsErr := receivedFiles(l.control[:max(controlSize, 0)])
	switch {
	case err != nil:
		return nil, files, endOf(err)
	case rightsErr != nil:
		return nil, files, rightsErr
	case flags&syscall.MSG_TRUNC != 0:
		return nil, files, fmt.Errorf("packet: got more than %d octets, want at most that", maxPacket)
	case flags&syscall.MSG_CTRUNC != 0:
		return nil, files, fmt.Errorf("packet: got only %d of its descriptors: more than %d, or this process may not open more",
			len(files), MaxFiles)
	}
	return l.buffer[:n], files, nil
}

// receivedFiles returns the descriptors of a control message, even if there is an error.
func receivedFiles(control []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	var files []*os.File
	var failed error
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			failed = fmt.Errorf("control message: got level %d and type %d, want SCM_RIGHTS", m.Header.Level, m.Header.Type)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, failed
}

// SetDeadline sets the time after which Send and Receive fail with os.ErrDeadlineExceeded. Zero means never.
func (l *Link) SetDeadline(t time.Time) error { return l.conn.SetDeadline(t) }

// SetSendDeadline is SetDeadline for Send alone.
func (l *Link) SetSendDeadline(t time.Time) error { return l.conn.SetWriteDeadline(t) }

// Close closes this end. A blocked Send or Receive returns net.ErrClosed.
func (l *Link) Close() error { return l.conn.Close() }

// File returns a duplicate of the descriptor, to pass the link on; the caller closes it. Receive must not be running.
// It is an error if a message was sent or received only in part, as after a deadline.
func (l *Link) File() (*os.File, error) {
	l.send.Lock()
	defer l.send.Unlock()
	if l.sendErr != nil || l.receiveErr != nil || l.in.begun {
		return nil, errors.New("pass a link on: got a message that is incomplete, want none")
	}
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("pass a link on: %w", err)
	}
	var duplicate uintptr
	var errno syscall.Errno
	// Not conn.File: Fd of what that returns makes this end blocking.
	err = raw.Control(func(fd uintptr) {
		duplicate, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("fcntl", errno)
	}
	if err != nil {
		return nil, fmt.Errorf("pass a link on: %w", err)
	}
	return os.NewFile(duplicate, "link"), nil
}
