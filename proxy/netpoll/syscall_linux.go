package netpoll

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// All descriptors of this package are non-blocking, so its system calls return at
// once. They are raw: the Go scheduler is not notified. After a notification the
// scheduler's monitor thread wakes every 20 µs to see whether the call blocks, and
// continues until the process is idle; at some hundred logins a second that takes a
// fifth of the CPU time. Package golang.org/x/sys/unix notifies the scheduler in
// Read, Write, Accept4, Connect and EpollWait, so it cannot replace this file. This
// is the only file with unsafe.

// syscallFD makes a system call on fd, and repeats it after an interruption. The
// address of the data remains an unsafe.Pointer until the call itself: the stack may
// be moved before that, and an address in a uintptr would not follow.
func syscallFD(name string, number uintptr, fd int, p unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(number, uintptr(fd), uintptr(p), size)
		if err != syscall.EINTR {
			return result(name, n, err)
		}
	}
}

// result turns what a system call returned into Go's convention.
func result(name string, n uintptr, err syscall.Errno) (int, error) {
	switch err {
	case 0:
		return int(n), nil
	case syscall.EAGAIN:
		return 0, ErrWouldBlock
	}
	return 0, os.NewSyscallError(name, err)
}

func read(fd int, p []byte) (int, error) {
	return syscallFD("read", syscall.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)))
}

func write(fd int, p []byte) (int, error) {
	return syscallFD("write", syscall.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)))
}

// closeFD closes fd. Linux frees the descriptor even when it reports an error.
func closeFD(fd int) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

func shutdownWrite(fd int) error {
	_, _, err := syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), syscall.SHUT_WR, 0)
	if err != 0 {
		return os.NewSyscallError("shutdown", err)
	}
	return nil
}

func epollAdd(epoll, fd int, e *syscall.EpollEvent) error {
	_, _, err := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(epoll), syscall.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(e)), 0, 0)
	if err != 0 {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// epollDelete fails only if fd is not registered.
func epollDelete(epoll, fd int) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(epoll), syscall.EPOLL_CTL_DEL, uintptr(fd), 0, 0, 0)
}

// epollPoll returns the number of events there are now without waiting, -1 after an
// interruption.
func epollPoll(epoll int, events []syscall.EpollEvent) int {
	n, _, _ := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n)
}

func setOption(fd, level, option, value int) error {
	v := int32(value)
	_, _, err := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)), 4, 0)
	if err != 0 {
		return os.NewSyscallError("setsockopt", err)
	}
	return nil
}

func newSocket(family int) (int, error) {
	fd, _, err := syscall.RawSyscall(syscall.SYS_SOCKET, uintptr(family), syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	return result("socket", fd, err)
}

// sockaddr is an address in the format of the kernel, IPv4 or IPv6.
type sockaddr struct {
	syscall.RawSockaddrInet6
	size uint32
}

func newSockaddr(a netip.AddrPort) *sockaddr {
	s := &sockaddr{size: syscall.SizeofSockaddrInet6}
	s.Family, s.Addr = syscall.AF_INET6, a.Addr().As16()
	s.Port = networkOrder(a.Port())
	if ip := a.Addr().Unmap(); ip.Is4() {
		v4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(s))
		v4.Family, v4.Addr, s.size = syscall.AF_INET, ip.As4(), syscall.SizeofSockaddrInet4
	}
	return s
}

// addrPort returns the address, the zero value if the family is another.
func (s *sockaddr) addrPort() netip.AddrPort {
	port := networkOrder(s.Port)
	switch s.Family {
	case syscall.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*syscall.RawSockaddrInet4)(unsafe.Pointer(s)).Addr), port)
	case syscall.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), port)
	}
	return netip.AddrPort{}
}

// networkOrder converts a port from native byte order to network byte order, or
// back.
func networkOrder(port uint16) uint16 {
	var p [2]byte
	binary.BigEndian.PutUint16(p[:], port)
	return binary.NativeEndian.Uint16(p[:])
}

func connect(fd int, to *sockaddr) error {
	_, err := syscallFD("connect", syscall.SYS_CONNECT, fd, unsafe.Pointer(to), uintptr(to.size))
	return err
}

func accept(fd int) (int, netip.AddrPort, error) {
	var from sockaddr
	for {
		from.size = syscall.SizeofSockaddrInet6
		n, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&from.size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
		if errno != syscall.EINTR {
			conn, err := result("accept4", n, errno)
			return conn, from.addrPort(), err
		}
	}
}

// localAddr returns the zero value if the kernel returns no address.
func localAddr(fd int) netip.AddrPort {
	local := sockaddr{size: syscall.SizeofSockaddrInet6}
	_, _, _ = syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&local)), uintptr(unsafe.Pointer(&local.size)))
	return local.addrPort()
}
