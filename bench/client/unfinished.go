package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// UnfinishedHandshake starts TLS handshakes and never finishes them. It costs
// the client no computation: every handshake sends the same ClientHello. The
// server cannot notice and computes its part each time. It is safe for
// concurrent use.
type UnfinishedHandshake struct {
	Addr        string
	TLS         *tls.Config
	ProxyHeader bool          // as in [Dialer]
	Timeout     time.Duration // of one handshake
	Connect     func(ctx context.Context) (net.Conn, error)

	once  sync.Once
	hello []byte
}

// Start connects from source, sends a ClientHello, and closes the connection
// once the server has sent a part of its handshake.
func (u *UnfinishedHandshake) Start(ctx context.Context, source netip.Addr) error {
	u.once.Do(func() { u.hello = clientHello(u.TLS) })
	c, err := connect(ctx, u.Addr, source, u.ProxyHeader, u.Timeout, u.Connect)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(u.hello); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	var answer [1]byte
	if _, err := c.Read(answer[:]); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	if answer[0] != recordHandshake {
		return fmt.Errorf("%w: %w", errTLS, unexpected("ClientHello", answer[:]))
	}
	return nil
}

// recordHandshake is the type of a TLS record with a handshake message, as
// opposed to an alert (RFC 8446, section 5.1).
const recordHandshake = 22

// clientHello returns the first message of a client with that configuration.
func clientHello(config *tls.Config) []byte {
	var r recorder
	_ = tls.Client(&r, config).Handshake()
	return r.first
}

// recorder is a connection that keeps the first write and has nothing to read.
type recorder struct {
	net.Conn
	first []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.first == nil {
		r.first = append(r.first, p...)
	}
	return len(p), nil
}

func (*recorder) Read([]byte) (int, error) { return 0, io.EOF }
