//go:build !linux

package netpoll

import (
	"context"
	"net"
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
	dialer := net.Dialer{Deadline: deadline, KeepAliveConfig: keepAlives.config()}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}
