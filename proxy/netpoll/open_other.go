//go:build !linux

package netpoll

import (
	"net"
	"time"
)

// Listen announces on a TCP address as net.Listen does. What its Accept returns is
// a Conn.
func Listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return listener{ln}, nil
}

type listener struct{ net.Listener }

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}

// Dial connects to a TCP address before the time until.
func Dial(addr string, until time.Time) (Conn, error) {
	dialer := net.Dialer{Deadline: until}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}
