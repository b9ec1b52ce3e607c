package netpoll

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// keepAlive has the kernel notice that a silent peer is gone, in about a quarter
// of an hour. Telephones are not to be woken often.
const keepAlive = 5 * time.Minute

// setOptions sets what holds for every connection. Linux hands the options of a
// listener on to what it accepts.
func setOptions(fd int) error {
	for _, o := range []struct{ level, option, value int }{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(keepAlive / time.Second)},
	} {
		if err := setOption(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	return nil
}

// Listen announces on a TCP address as net.Listen does. What its Accept returns is
// a Conn.
func Listen(network, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) { err = setOptions(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	config.SetMultipathTCP(false) // it can stand still for many seconds with its buffers full
	ln, err := config.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	fd, err := dup(ln.(*net.TCPListener))
	if err != nil {
		return nil, err
	}
	c, err := newConn(fd, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return &listener{c, ln.Addr()}, nil
}

// listener is a socket that connections are accepted from.
type listener struct {
	conn *conn
	addr net.Addr
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		fd, from, err := l.accept()
		switch {
		case err == nil:
			return accepted(fd, from)
		case err == ErrWouldBlock:
			l.conn.wait(&l.conn.in)
		case !errors.Is(err, syscall.ECONNABORTED): // it left before it was its turn
			return nil, err
		}
	}
}

// accept takes a connection that waits, or returns ErrNothing.
func (l *listener) accept() (fd int, from netip.AddrPort, err error) {
	c := l.conn
	c.in.call.Lock()
	defer c.in.call.Unlock()
	if err := c.begin(&c.in); err != nil {
		return 0, from, err
	}
	fd, from, err = accept(int(c.fd))
	if err != ErrWouldBlock {
		c.more(&c.in)
	}
	return fd, from, err
}

// accepted returns the connection that fd is.
func accepted(fd int, remote netip.AddrPort) (Conn, error) {
	c, err := newConn(fd, remote)
	if err != nil {
		return nil, err
	}
	c.more(&c.out)
	return c, nil
}

// Close ends Accept.
func (l *listener) Close() error { return l.conn.Close() }

// Addr is where the listener is.
func (l *listener) Addr() net.Addr { return l.addr }

// Dial connects to a TCP address before the time until. Where addr is no address
// but a name, each address of that is tried as net.Dialer does.
func Dial(addr string, until time.Time) (Conn, error) {
	if to, err := netip.ParseAddrPort(addr); err == nil && to.Addr().Zone() == "" {
		return dial(to, until)
	}
	dialer := net.Dialer{Deadline: until, KeepAlive: -1}
	far, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	return adopt(far.(*net.TCPConn))
}

// dial connects to an address.
func dial(to netip.AddrPort, until time.Time) (Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	fd, err := newSocket(int(newSockaddr(to).Family))
	if err != nil {
		return nil, err
	}
	return dialFrom(fd, to, until)
}

// dialFrom connects the socket fd, and closes it if it cannot.
func dialFrom(fd int, to netip.AddrPort, until time.Time) (Conn, error) {
	sa := newSockaddr(to)
	err := setOptions(fd)
	if err == nil {
		err = connect(fd, sa)
	}
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		shut(fd)
		return nil, err
	}
	c, err := newConn(fd, to)
	if err != nil {
		return nil, err
	}
	_ = c.SetWriteDeadline(until)
	err = c.connected(sa)
	if err == nil && localAddr(fd) == to { // TCP can meet itself where nobody listens
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	_ = c.SetWriteDeadline(time.Time{})
	return c, nil
}

// connected waits until c has reached its peer. It asks by connecting once more,
// which tells at once where the peer is near.
func (c *conn) connected(to *sockaddr) error {
	for {
		switch err := connect(int(c.fd), to); {
		case err == nil || errors.Is(err, syscall.EISCONN):
			c.more(&c.out)
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

// adopt returns a Conn on the connection of c, which the caller closes.
func adopt(c *net.TCPConn) (Conn, error) {
	fd, err := dup(c)
	if err != nil {
		return nil, err
	}
	if err := setOptions(fd); err != nil {
		shut(fd)
		return nil, err
	}
	return accepted(fd, c.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// dup returns another descriptor of what c is.
func dup(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno syscall.Errno
	err = raw.Control(func(old uintptr) {
		var r uintptr
		r, _, errno = syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		fd = int(r)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("fcntl", errno)
	}
	return fd, err
}
