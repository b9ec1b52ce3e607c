package netpoll

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// The calls of this package never wait, for no descriptor here does. They are made
// without telling Go's scheduler. Told of a single one, it would begin to look every
// 20 µs whether that takes too long, and go on until nothing is left to do, which at
// some hundred logins a second takes a fifth of all the time.

// call makes a system call on fd, again if it was interrupted. A stack may grow on
// the way here, so what p points to is told by p and by no number before that.
func call(name string, number uintptr, fd int, p unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(number, uintptr(fd), uintptr(p), size)
		if err != syscall.EINTR {
			return outcome(name, n, err)
		}
	}
}

// outcome is what a call comes to that has returned n and err.
func outcome(name string, n uintptr, err syscall.Errno) (int, error) {
	switch err {
	case 0:
		return int(n), nil
	case syscall.EAGAIN:
		return 0, ErrWouldBlock
	}
	return 0, os.NewSyscallError(name, err)
}

func read(fd int, p []byte) (int, error) {
	return call("read", syscall.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)))
}

func write(fd int, p []byte) (int, error) {
	return call("write", syscall.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)))
}

// shut closes fd; nothing can be done about a failure.
func shut(fd int) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

func shutWrite(fd int) error {
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

// epollNow returns how many events there are now, below 0 after an interruption.
func epollNow(epoll int, events []syscall.EpollEvent) int {
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
	return outcome("socket", fd, err)
}

// sockaddr is an address as the kernel has it, of either family.
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

// addrPort is the address, a zero one if it is of neither family.
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

// networkOrder turns a port from the order of this machine into that of the network,
// and back.
func networkOrder(port uint16) uint16 {
	var p [2]byte
	binary.BigEndian.PutUint16(p[:], port)
	return binary.NativeEndian.Uint16(p[:])
}

func connect(fd int, to *sockaddr) error {
	_, err := call("connect", syscall.SYS_CONNECT, fd, unsafe.Pointer(to), uintptr(to.size))
	return err
}

func accept(fd int) (int, netip.AddrPort, error) {
	var from sockaddr
	for {
		from.size = syscall.SizeofSockaddrInet6
		n, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&from.size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
		if errno != syscall.EINTR {
			conn, err := outcome("accept", n, errno)
			return conn, from.addrPort(), err
		}
	}
}

// localAddr is a zero address if the kernel no longer tells.
func localAddr(fd int) netip.AddrPort {
	here := sockaddr{size: syscall.SizeofSockaddrInet6}
	_, _, _ = syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&here)), uintptr(unsafe.Pointer(&here.size)))
	return here.addrPort()
}
