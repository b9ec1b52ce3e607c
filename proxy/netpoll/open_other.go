//go:build !linux

package netpoll

import (
	"net"
	"time"
)

// Listen listens on a TCP address like net.Listen. Its Accept returns a Conn, which
// the caller closes.
func Listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return listener{ln}, nil
}

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}

// Dial connects to a TCP address, and fails with a timeout after deadline. The caller
// closes the Conn.
func Dial(addr string, deadline time.Time) (Conn, error) {
	dialer := net.Dialer{Deadline: deadline}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}
