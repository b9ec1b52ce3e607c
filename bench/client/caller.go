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

// Protocol is what is spoken.
type Protocol string

// The protocols.
const (
	IMAP Protocol = "imap"
	POP3 Protocol = "pop3"
)

// Security is how, if at all, a session comes to be inside TLS.
type Security string

// The ways into TLS.
const (
	Plain    Security = "plain"    // clear text
	StartTLS Security = "starttls" // STARTTLS or STLS after the greeting
	TLS      Security = "tls"      // from the first octet, a full handshake
	Resumed  Security = "resumed"  // the same with a ticket of an earlier session
)

// Caller connects to one door of a target.
type Caller struct {
	Addr     string
	Protocol Protocol
	Security Security
	// TLS is what the client demands of the server; required unless Plain.
	TLS *tls.Config
	// Announce says the source in a PROXY header of version 2; without it the
	// connection is made from the source, which must be an address of this machine.
	Announce bool
	// Patience is how long a session may take, from dialling to leaving, until
	// [Session.Patience] says otherwise.
	Patience time.Duration
	// Dial replaces the network in tests.
	Dial func(ctx context.Context) (net.Conn, error)

	tickets ticketBook
	once    sync.Once
	config  *tls.Config // TLS, with the tickets if they are wanted
}

// Call connects from source and reads the greeting. The zero source is left to
// the system. The caller closes the session.
func (c *Caller) Call(ctx context.Context, source netip.Addr) (*Session, error) {
	deadline := time.Now().Add(c.Patience)
	raw, err := c.dial(ctx, source, deadline)
	if err != nil {
		return nil, err
	}
	s := &Session{protocol: c.Protocol, stop: context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })}
	_ = raw.SetDeadline(deadline)
	if err := c.enter(s, raw, source); err != nil {
		s.stop()
		raw.Close()
		return nil, err
	}
	return s, nil
}

// enter goes through the door: PROXY header, TLS, greeting.
func (c *Caller) enter(s *Session, raw net.Conn, source netip.Addr) error {
	if c.Announce && source.IsValid() {
		if err := announce(raw, source); err != nil {
			return err
		}
	}
	s.use(raw)
	if c.Security == TLS || c.Security == Resumed {
		if err := c.shake(s); err != nil {
			return err
		}
	}
	if err := s.greeting(); err != nil {
		return err
	}
	if c.Security == StartTLS {
		if err := s.startTLS(); err != nil {
			return err
		}
		return c.shake(s)
	}
	return nil
}

// dial connects, from source if that is to be seen.
func (c *Caller) dial(ctx context.Context, source netip.Addr, deadline time.Time) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx)
	}
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if source.IsValid() && !c.Announce {
		d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	return d.DialContext(ctx, "tcp", c.Addr)
}

// announce writes a PROXY header that names source as the client.
func announce(c net.Conn, source netip.Addr) error {
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

// shake puts s inside TLS.
func (c *Caller) shake(s *Session) error {
	c.once.Do(func() {
		c.config = c.TLS.Clone()
		if c.Security == Resumed {
			c.config.ClientSessionCache = &c.tickets
		}
	})
	t := tls.Client(s.Conn, c.config)
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	s.Resumed = t.ConnectionState().DidResume
	s.use(t)
	return nil
}

// ticketBook keeps the newest ticket and lends it to any number of sessions.
type ticketBook struct {
	newest atomic.Pointer[tls.ClientSessionState]
}

// Get returns the newest ticket, for whatever server.
func (b *ticketBook) Get(string) (*tls.ClientSessionState, bool) {
	s := b.newest.Load()
	return s, s != nil
}

// Put keeps a ticket.
func (b *ticketBook) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		b.newest.Store(s)
	}
}
