package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Listen listens on a TCP address like net.Listen. Its Accept returns a Conn, which
// the caller closes.
func Listen(network, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) { err = setOptions(int(fd), keepAlives) }); e != nil {
			return e
		}
		return err
	}}
	config.SetMultipathTCP(false) // it can stall for many seconds when its buffers are full
	ln, err := config.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	fd, err := dup(ln.(*net.TCPListener))
	if err != nil {
		return nil, err
	}
	return newListener(fd, ln.Addr())
}

// FromFile serves the listening TCP socket f, which another process has made and may
// serve at the same time. It sets the options that Listen sets, and closes f, also
// when it fails.
func FromFile(f *os.File) (net.Listener, error) {
	defer f.Close()
	fd, err := dup(f)
	if err != nil {
		return nil, fmt.Errorf("take over listening socket: %w", err)
	}
	if err := adopt(fd); err != nil {
		closeFD(fd)
		return nil, fmt.Errorf("take over listening socket: %w", err)
	}
	return newListener(fd, net.TCPAddrFromAddrPort(localAddr(fd)))
}

// maxBacklog is how many connections may wait to be accepted. Linux lowers it to
// net.core.somaxconn.
const maxBacklog = 1<<16 - 1

// adopt checks that fd is a listening TCP socket, and makes it like one of Listen.
func adopt(fd int) error {
	for _, o := range []struct {
		name         string
		option, want int
	}{
		{"type", syscall.SO_TYPE, syscall.SOCK_STREAM},
		{"protocol", syscall.SO_PROTOCOL, syscall.IPPROTO_TCP},
		{"SO_ACCEPTCONN", syscall.SO_ACCEPTCONN, 1},
	} {
		got, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, o.option)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		if got != o.want {
			return fmt.Errorf("got socket with %s %d, want %d, that of a listening TCP socket", o.name, got, o.want)
		}
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := syscall.Listen(fd, maxBacklog); err != nil { // the backlog may be small
		return os.NewSyscallError("listen", err)
	}
	return setOptions(fd, keepAlives)
}

// listener is a listening socket. Its conn is only waited for and closed.
type listener struct {
	conn *conn
	addr net.Addr
}

// newListener returns a listener for fd. It closes fd when it fails.
func newListener(fd int, addr net.Addr) (net.Listener, error) {
	c, err := newConn(fd, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return &listener{c, addr}, nil
}

// File returns a duplicate of the socket, to be passed to another process. The caller
// closes it; the socket itself remains open until all processes have closed it.
func (l *listener) File() (*os.File, error) {
	l.conn.in.call.Lock()
	defer l.conn.in.call.Unlock()
	if err := l.conn.checkOpen(); err != nil {
		return nil, err
	}
	fd, err := dupFD(int(l.conn.fd))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.addr.String()), nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		fd, from, err := l.accept()
		switch {
		case err == nil:
			return newConnected(fd, from)
		case err == ErrWouldBlock:
			l.conn.wait(&l.conn.in)
		case !errors.Is(err, syscall.ECONNABORTED): // the client is gone already: take the next
			return nil, err
		}
	}
}

// accept takes a connection from the queue, or returns ErrWouldBlock.
func (l *listener) accept() (fd int, from netip.AddrPort, err error) {
	c := l.conn
	c.in.call.Lock()
	defer c.in.call.Unlock()
	if err := c.begin(&c.in); err != nil {
		return 0, from, err
	}
	fd, from, err = accept(int(c.fd))
	if err != ErrWouldBlock {
		c.setReady(&c.in)
	}
	return fd, from, err
}

// Close implements net.Listener. It interrupts Accept. Another process that has the
// socket serves it as before: connections that wait in its queue remain there.
func (l *listener) Close() error {
	l.unregister()
	return l.conn.Close()
}

// unregister removes the socket from epoll. Linux does that when a socket is closed,
// but not while another process has it.
func (l *listener) unregister() {
	l.conn.in.call.Lock()
	defer l.conn.in.call.Unlock()
	if l.conn.checkOpen() == nil {
		epollDelete(poller.fd, int(l.conn.fd))
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
