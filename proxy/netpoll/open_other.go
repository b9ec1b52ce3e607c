//go:build !linux

package netpoll

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// config returns k as package net has it.
func (k keepAlive) config() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: k.idle, Interval: k.interval, Count: k.probes}
}

// Listen listens on a TCP address like net.Listen. Its Accept returns a Conn, which
// the caller closes.
func Listen(network, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlives.config()}
	ln, err := config.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	return listener{ln.(*net.TCPListener)}, nil
}

// FromFile serves the listening TCP socket f, which another process has made and may
// serve at the same time. It closes f, also when it fails.
func FromFile(f *os.File) (net.Listener, error) {
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over listening socket: %w", err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("take over listening socket: got a socket for %s, want TCP", ln.Addr().Network())
	}
	return listener{tcp}, nil
}

// listener has the method File of its TCPListener: a duplicate of the socket, to be
// passed to another process.
type listener struct{ *net.TCPListener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = c.SetKeepAliveConfig(keepAlives.config()) // those of FromFile have the default; fails if the client is gone
	return Wrap(c), nil
}

// Dial connects to a TCP address, and fails with a timeout after deadline. The caller
// closes the Conn.
func Dial(addr string, deadline time.Time) (Conn, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAliveConfig: keepAlives.config()}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}
