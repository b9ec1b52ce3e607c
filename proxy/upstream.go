package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// upstream is a connection to a backend that has greeted. Whoever holds it must
// call leave.
type backendConn struct {
	*dialogue.Conn
	raw     netpoll.Conn
	pool    *Backends
	backend *backend
	inLogin bool
	closed  bool
}

// settled gives the login slot back, when the login is no longer in flight.
func (u *backendConn) settled() {
	if u.inLogin {
		u.inLogin = false
		u.pool.release(u.backend)
	}
}

// leave closes the connection. Leaving again does nothing.
func (u *backendConn) close() {
	if u.closed {
		return
	}
	u.closed = true
	u.settled()
	u.backend.sessions.Add(-1)
	if u.Conn != nil {
		u.Release()
	}
	u.raw.Close()
}

// enter connects to a backend of which the caller has a slot, before the time
// until. The slot is the upstream's, or given back if there is none.
func (b *Backends) login(one *backend, w clientInfo, until time.Time) (up *backendConn, err error) {
	defer func() {
		if up == nil {
			b.release(one)
		}
	}()
	raw, conn, err := b.dial(one, w, until, b.protocol.Welcome)
	if err != nil {
		return nil, err
	}
	one.sessions.Add(1)
	return &backendConn{Conn: conn, raw: raw, pool: b, backend: one, inLogin: true}, nil
}

// ownFault says whether a dial failed for want of something on this machine,
// which says nothing about the backend.
func ownFault(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Limits on how long a backend may take to answer a dial, and to greet.
const (
	dialTimeout    = 3 * time.Second
	welcomeTimeout = 5 * time.Second
)

// greet reads a backend's greeting, and starts TLS by upgrade unless that is nil.
type greetFunc func(conn *dialogue.Conn, upgrade func() error) error

// open connects to one backend, announces w, begins TLS as configured and lets g
// read the greeting, before the time until. The caller closes the connection.
func (b *Backends) dial(one *backend, w clientInfo, until time.Time, g greetFunc) (netpoll.Conn, *dialogue.Conn, error) {
	begun := time.Now()
	raw, err := b.connect(one.addr, earlier(until, begun.Add(dialTimeout)))
	if err != nil {
		one.count(dialResult(err))
		return nil, nil, fmt.Errorf("dial backend %s: %w", one.addr, err)
	}
	raw.SetDeadline(earlier(until, time.Now().Add(welcomeTimeout)))
	var conn *dialogue.Conn
	defer func() {
		if conn == nil {
			raw.Close()
		}
	}()
	conn, err = b.handshake(one, raw, w, g)
	if err != nil {
		conn = nil
		one.count(greetResult(err))
		return nil, nil, fmt.Errorf("greet backend %s: %w", one.addr, err)
	}
	one.count(DialOK)
	one.dialTime.Add(int64(time.Since(begun)))
	return raw, conn, nil
}

// announce sends the PROXY header and reads the greeting, in TLS as configured.
func (b *Backends) handshake(one *backend, raw net.Conn, w clientInfo, g greetFunc) (*dialogue.Conn, error) {
	if b.config.Proxy != ProxyOff {
		if !w.client.IsValid() {
			w.client, w.local = addrPort(raw.LocalAddr()), addrPort(raw.RemoteAddr())
		}
		header, err := w.header(b.config.Proxy, b.config.Serves)
		if err != nil {
			return nil, fmt.Errorf("make PROXY header: %w", err)
		}
		if _, err := raw.Write(header); err != nil { // one write: Dovecot drops a split header
			return nil, fmt.Errorf("send PROXY header: %w", err)
		}
	}
	conn := dialogue.NewConn(raw)
	switch b.config.TLS {
	case BackendImplicit:
		conn.Restart(tls.Client(raw, one.tls))
	case BackendStartTLS:
		return conn, g(conn, func() error {
			if conn.Buffered() > 0 {
				return errors.New("backend sent clear text behind its leave to begin TLS")
			}
			secure := tls.Client(raw, one.tls)
			conn.Restart(secure)
			return secure.Handshake()
		})
	}
	return conn, g(conn, nil)
}
