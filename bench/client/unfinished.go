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

// Unfinished begins TLS handshakes that it never finishes. It computes nothing:
// all send one ClientHello that was made once. A server cannot tell, and does
// its part of the work anew each time.
type Unfinished struct {
	Caller

	once  sync.Once
	hello []byte
}

// Call connects from source, sends a ClientHello, and is gone as soon as the
// server says anything.
func (u *Unfinished) Call(ctx context.Context, source netip.Addr) error {
	u.once.Do(func() { u.hello = clientHello(u.TLS) })
	deadline := time.Now().Add(u.Patience)
	c, err := u.dial(ctx, source, deadline)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(deadline)
	if u.Announce && source.IsValid() {
		if err := announce(c, source); err != nil {
			return err
		}
	}
	if _, err := c.Write(u.hello); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	var answer [1]byte
	if _, err := c.Read(answer[:]); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	if answer[0] != recordHandshake {
		return fmt.Errorf("%w: %w", errTLS, nonsense("ClientHello", answer[:]))
	}
	return nil
}

// recordHandshake is the type of a TLS record that is part of a handshake; an
// alert has another.
const recordHandshake = 22

// clientHello returns what a client with that configuration says first.
func clientHello(config *tls.Config) []byte {
	var r recorder
	_ = tls.Client(&r, config).Handshake()
	return r.first
}

// recorder is a connection to nobody, which keeps what is said first.
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
