package handover

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// firstSocket is the first descriptor that the service manager passes, SD_LISTEN_FDS_START.
const firstSocket = 3

// socketVariables are the environment variables about these descriptors.
var socketVariables = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// notifyTimeout bounds how long Notify waits for a service manager that does not read.
const notifyTimeout = 5 * time.Second

// Socket is a descriptor that the service manager passed to this process: of socket activation, or stored by a former
// process.
type Socket struct {
	Name string   // FileDescriptorName= of the socket unit, or FDNAME= of the former process; several may have the same
	File *os.File // close-on-exec; the caller closes it
}

// Sockets returns the descriptors that the service manager passed to this process, and environ without the variables
// that say so; see sd_listen_fds(3). There are none if the variables are for another process. Call it once, before this
// process starts others. If there is an error, no descriptor is closed.
func Sockets(environ []string) (sockets []Socket, rest []string, err error) {
	return socketsFrom(environ, firstSocket)
}

// socketsFrom is Sockets with the first descriptor.
func socketsFrom(environ []string, first int) (sockets []Socket, rest []string, err error) {
	rest = without(environ, socketVariables...)
	value, found := lookup(environ, "LISTEN_PID")
	if !found {
		return nil, rest, nil
	}
	pid, err := strconv.Atoi(value)
	if err != nil || pid <= 0 {
		return nil, rest, fmt.Errorf("LISTEN_PID: got %q, want the number of a process", value)
	}
	value, found = lookup(environ, "LISTEN_FDS")
	if pid != os.Getpid() || !found {
		return nil, rest, nil
	}
	count, err := strconv.Atoi(value)
	if err != nil || count < 0 {
		return nil, rest, fmt.Errorf("LISTEN_FDS: got %q, want the number of descriptors", value)
	}
	// Without names, sd_listen_fds_with_names(3) has "unknown" for each.
	names := slices.Repeat([]string{"unknown"}, min(count, 1<<16))
	if value, found := lookup(environ, "LISTEN_FDNAMES"); found {
		names = strings.Split(value, ":")
		if count == 0 && value == "" {
			names = nil
		}
	}
	if len(names) != count {
		return nil, rest, fmt.Errorf("LISTEN_FDNAMES: got %d names, want %d, one for each of LISTEN_FDS", len(names), count)
	}
	for fd := first; fd < first+count; fd++ {
		if err := checkOpen(fd); err != nil {
			return nil, rest, fmt.Errorf("LISTEN_FDS: %w", err)
		}
	}
	for i, name := range names {
		syscall.CloseOnExec(first + i)
		sockets = append(sockets, Socket{Name: name, File: os.NewFile(uintptr(first+i), name)})
	}
	return sockets, rest, nil
}

// Notify sends state, lines such as "READY=1", with files to the service manager; see sd_notify(3). The variable
// NOTIFY_SOCKET of environ names the socket; without it, Notify does nothing. At most [MaxFiles] files are sent; the
// caller keeps them, and must not close them before Notify returns. It waits a few seconds at most.
//
// A name of a descriptor in state (FDNAME=) must not have a colon or control characters, and at most 255 octets.
func Notify(environ []string, state string, files ...*os.File) error {
	name, found := lookup(environ, "NOTIFY_SOCKET")
	if !found || name == "" {
		return nil
	}
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return fmt.Errorf("NOTIFY_SOCKET: got %q, want an absolute path, or \"@\" and the name of an abstract socket", name)
	}
	if err := notify(name, state, files, time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// notify sends state with files to the datagram socket name.
func notify(name, state string, files []*os.File, deadline time.Time) error {
	control, err := rights(files)
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	// Not WriteMsgUnix: it refuses connected datagram sockets. Of others, the poller does not notice that the receiver
	// has read and there is space again.
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = ignoreEINTR(func() error { return syscall.Sendmsg(int(fd), []byte(state), control, nil, 0) })
		return sendErr != syscall.EAGAIN
	})
	runtime.KeepAlive(files)
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", sendErr)
}

// ignoreEINTR calls f again while a signal interrupts it.
func ignoreEINTR(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
