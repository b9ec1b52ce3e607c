package netpoll

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall does not have.
const tcpUserTimeout = 18

// setOptions sets the socket options of every connection. Accepted connections
// inherit those of the listener.
//
// The user timeout is the same as the time after which keepalive gives up. It bounds
// how long written data may remain unacknowledged, which Linux does for 15 minutes
// otherwise, and it replaces the number of probes: a shorter one would end a
// connection when the first probe is lost.
func setOptions(fd int, k keepAlive) error {
	for _, o := range []struct{ level, option, value int }{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(k.idle / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(k.interval / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, k.probes},
		{syscall.IPPROTO_TCP, tcpUserTimeout, int(k.total() / time.Millisecond)},
	} {
		if err := setOption(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	return nil
}

// newConnected returns a Conn for fd, which is connected already and so can be
// written to. It closes fd when it fails.
func newConnected(fd int, remote netip.AddrPort) (Conn, error) {
	c, err := newConn(fd, remote)
	if err != nil {
		return nil, err
	}
	c.setReady(&c.out)
	return c, nil
}

// Dial connects to a TCP address, and fails with a timeout after deadline. A host name
// is resolved, and its addresses are tried, as net.Dialer does. The caller closes the
// Conn.
func Dial(addr string, deadline time.Time) (Conn, error) {
	if to, err := netip.ParseAddrPort(addr); err == nil && to.Addr().Zone() == "" {
		return dial(to, deadline)
	}
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return duplicate(c.(*net.TCPConn))
}

// dial connects to an address.
func dial(to netip.AddrPort, deadline time.Time) (Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	fd, err := newSocket(int(newSockaddr(to).Family))
	if err != nil {
		return nil, err
	}
	return connectFD(fd, to, deadline)
}

// connectFD connects the socket fd. It closes fd when it fails.
func connectFD(fd int, to netip.AddrPort, deadline time.Time) (Conn, error) {
	sa := newSockaddr(to)
	err := setOptions(fd, keepAlives)
	if err == nil {
		err = connect(fd, sa)
	}
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		closeFD(fd)
		return nil, err
	}
	c, err := newConn(fd, to)
	if err != nil {
		return nil, err
	}
	_ = c.SetWriteDeadline(deadline)
	err = c.awaitConnected(sa)
	if err == nil && localAddr(fd) == to { // without a listener, TCP can connect a port to itself
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	_ = c.SetWriteDeadline(time.Time{})
	return c, nil
}

// awaitConnected waits until c is connected. It finds out by calling connect again,
// which saves the wait for an event when the peer is near.
func (c *conn) awaitConnected(to *sockaddr) error {
	for {
		switch err := connect(int(c.fd), to); {
		case err == nil || errors.Is(err, syscall.EISCONN):
			c.setReady(&c.out)
			return nil
		case errors.Is(err, syscall.EALREADY) || errors.Is(err, syscall.EINPROGRESS):
		default:
			return err
		}
		c.wait(&c.out)
		if err := c.begin(&c.out); err != nil && err != ErrWouldBlock {
			return err
		}
	}
}

// duplicate returns a Conn with a new descriptor for the connection of c. The caller
// closes both.
func duplicate(c *net.TCPConn) (Conn, error) {
	fd, err := dup(c)
	if err != nil {
		return nil, err
	}
	if err := setOptions(fd, keepAlives); err != nil {
		closeFD(fd)
		return nil, err
	}
	return newConnected(fd, c.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// dup duplicates the descriptor of c.
func dup(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(old uintptr) { fd, err = dupFD(int(old)) }); e != nil {
		return 0, e
	}
	return fd, err
}

// dupFD duplicates fd. The duplicate is closed on exec.
func dupFD(fd int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	return result("fcntl", n, errno)
}
