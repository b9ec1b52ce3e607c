// Package client is the mail client of the bench: it connects, logs in, moves
// data and logs out, as fast as it can and with a deadline for everything.
//
// It knows just enough IMAP and POP3 for that. Any answer it does not expect is
// an error, and so is a certificate other than the expected one.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// Protocol is the protocol of a session.
type Protocol string

// The protocols.
const (
	IMAP Protocol = "imap"
	POP3 Protocol = "pop3"
)

// Security is how a session uses TLS.
type Security string

// The kinds of security.
const (
	Plain    Security = "plain"    // clear text
	StartTLS Security = "starttls" // STARTTLS or STLS after the greeting
	TLS      Security = "tls"      // implicit TLS, a full handshake
	Resumed  Security = "resumed"  // implicit TLS, with a ticket of an earlier session
)

// Dialer connects to one listener of a target. It is safe for concurrent use.
type Dialer struct {
	Addr     string
	Protocol Protocol
	Security Security
	// TLS says how to verify the server; required unless Security is Plain.
	TLS *tls.Config
	// ProxyHeader sends the source in a PROXY header of version 2. Without it,
	// the source is the local address and must belong to this machine.
	ProxyHeader bool
	// Timeout limits a session from dialling to logout, unless
	// [Session.SetTimeout] replaces it.
	Timeout time.Duration
	// Connect replaces the network in tests.
	Connect func(ctx context.Context) (net.Conn, error)

	tickets ticketCache
	once    sync.Once
	config  *tls.Config // TLS, for Resumed with the tickets
}

// Dial connects from source and reads the greeting. With the zero source, the
// system chooses the address. The caller closes the session.
func (d *Dialer) Dial(ctx context.Context, source netip.Addr) (*Session, error) {
	raw, err := connect(ctx, d.Addr, source, d.ProxyHeader, d.Timeout, d.Connect)
	if err != nil {
		return nil, &Failure{Step: StepConnect, Err: err}
	}
	s := &Session{protocol: d.Protocol, stop: context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })}
	if err := d.negotiate(s, raw); err != nil {
		s.stop()
		raw.Close()
		return nil, err
	}
	return s, nil
}

// negotiate does TLS and reads the greeting.
func (d *Dialer) negotiate(s *Session, raw net.Conn) error {
	s.setConn(raw)
	if d.Security == TLS || d.Security == Resumed {
		if err := d.handshake(s); err != nil {
			return s.failed(StepTLS, err)
		}
	}
	if err := s.readGreeting(); err != nil {
		return s.failed(StepGreeting, err)
	}
	if d.Security == StartTLS {
		if err := s.startTLS(); err != nil {
			return s.failed(StepStartTLS, err)
		}
		return s.failed(StepTLS, d.handshake(s))
	}
	return nil
}

// handshake does the TLS handshake of s.
func (d *Dialer) handshake(s *Session) error {
	d.once.Do(func() {
		d.config = d.TLS.Clone()
		if d.Security == Resumed {
			d.config.ClientSessionCache = &d.tickets
		}
	})
	t := tls.Client(s.Conn, d.config)
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	s.Resumed = t.ConnectionState().DidResume
	s.setConn(t)
	return nil
}

// connect dials addr with a deadline for everything and sends the PROXY header
// if there is one. replace, if not nil, is called in place of the network. The
// caller closes the connection.
func connect(ctx context.Context, addr string, source netip.Addr, proxyHeader bool, timeout time.Duration, replace func(context.Context) (net.Conn, error)) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if source.IsValid() && !proxyHeader {
		dialer.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	if replace == nil {
		replace = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }
	}
	c, err := replace(ctx)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(deadline)
	if proxyHeader && source.IsValid() {
		if err := writeProxyHeader(c, source); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// writeProxyHeader writes a PROXY header with source as the client's address.
func writeProxyHeader(c net.Conn, source netip.Addr) error {
	to := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	if source.Is6() {
		to = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: 1})
	}
	h := proxyproto.HeaderProxyFromAddrs(2, tcpAddr(source, 40000), tcpAddr(to, 993))
	_, err := h.WriteTo(c)
	return err
}

func tcpAddr(a netip.Addr, port uint16) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, port))
}

// ticketCache keeps the newest TLS session ticket and returns it to all
// sessions.
type ticketCache struct {
	newest atomic.Pointer[tls.ClientSessionState]
}

// Get returns the newest ticket, whatever the server.
func (b *ticketCache) Get(string) (*tls.ClientSessionState, bool) {
	s := b.newest.Load()
	return s, s != nil
}

// Put keeps a ticket.
func (b *ticketCache) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		b.newest.Store(s)
	}
}
