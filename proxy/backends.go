package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"postern/proxy/dialogue"
)

// BackendTLS is how TLS begins towards a backend.
type BackendTLS uint8

// The ways.
const (
	BackendClear    BackendTLS = iota // never
	BackendStartTLS                   // by STARTTLS or STLS
	BackendImplicit                   // at once, behind the PROXY header
)

var backendTLS = []string{"off", "starttls", "tls"}

// String returns "off", "starttls" or "tls".
func (m BackendTLS) String() string { return backendTLS[m] }

// MarshalText returns the way as String does.
func (m BackendTLS) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *BackendTLS) UnmarshalText(text []byte) error {
	i, err := oneOf(text, backendTLS)
	*m = BackendTLS(i)
	return err
}

// BackendConfig says where the backends of one protocol are and how to reach them.
type BackendConfig struct {
	Addrs     []string // host:port
	Proxy     ProxyVersion
	TLS       BackendTLS
	TLSConfig *tls.Config            // required unless TLS is BackendClear; without a ServerName the host of each is demanded
	Logins    int                    // in flight per backend
	Serves    func(name string) bool // server names that may be passed on; nil for none
}

// Backends are the servers of one protocol that logins are replayed to. It is
// safe for concurrent use.
type Backends struct {
	protocol dialogue.Protocol
	config   BackendConfig
	all      []*backend
	connect  func(ctx context.Context, addr string) (net.Conn, error)
	turn     atomic.Uint32
	offered  atomic.Pointer[dialogue.Capabilities]
}

// backend is one server.
type backend struct {
	addr  string
	tls   *tls.Config
	slots chan struct{} // one for each login in flight
	up    atomic.Bool
	offer atomic.Pointer[dialogue.Capabilities] // from the last probe that succeeded

	sessions   atomic.Int64
	dials      [numDialResults]atomic.Uint64
	dialTime   atomic.Int64 // nanoseconds, in sum over the dials that succeeded
	changes    atomic.Uint64
	probeError atomic.Pointer[string]
}

// NewBackends returns the backends of p. All count as up until Watch finds
// otherwise.
func NewBackends(p dialogue.Protocol, c BackendConfig) *Backends {
	dialer := net.Dialer{Timeout: dialTimeout}
	b := &Backends{protocol: p, config: c, connect: func(ctx context.Context, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", addr)
	}}
	for _, addr := range c.Addrs {
		one := &backend{addr: addr, tls: named(c.TLSConfig, addr), slots: make(chan struct{}, max(c.Logins, 1))}
		one.up.Store(true)
		b.all = append(b.all, one)
	}
	b.offered.Store(new(dialogue.Capabilities))
	return b
}

// named returns c, or with no ServerName in it a copy that demands the host of addr.
func named(c *tls.Config, addr string) *tls.Config {
	if c == nil || c.ServerName != "" {
		return c
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return c // the dial will fail with the same error
	}
	c = c.Clone()
	c.ServerName = host
	return c
}

// Healthy says whether at least one backend is up.
func (b *Backends) Healthy() bool {
	for _, one := range b.all {
		if one.up.Load() {
			return true
		}
	}
	return false
}

// errNoBackend is what login gets when no backend is up, errNoSlot when those
// that are up have as many logins in flight as they may.
var (
	errNoBackend = errors.New("no backend is up")
	errNoSlot    = errors.New("all backends are busy with logins")
)

// slot takes a login slot at a backend that is up and not among tried, in turn.
// When all are taken it waits for one of the first, for as long as patience.
// The caller must give the slot back.
func (b *Backends) slot(patience time.Duration, tried map[*backend]bool) (*backend, error) {
	var first *backend
	turn := int(b.turn.Add(1) % uint32(len(b.all)))
	for i := range b.all {
		one := b.all[(turn+i)%len(b.all)]
		if !one.up.Load() || tried[one] {
			continue
		}
		select {
		case one.slots <- struct{}{}:
			return one, nil
		default:
		}
		if first == nil {
			first = one
		}
	}
	if first == nil {
		return nil, errNoBackend
	}
	select {
	case first.slots <- struct{}{}:
		return first, nil
	case <-time.After(patience):
		return nil, errNoSlot
	}
}

// upstream is a connection to a backend that has greeted. Whoever holds it must
// call leave once, which closes it, and settled when its login is no longer in
// flight.
type upstream struct {
	*dialogue.Conn
	raw     net.Conn
	backend *backend
	inLogin bool
}

// settled gives the login slot back.
func (u *upstream) settled() {
	if u.inLogin {
		u.inLogin = false
		<-u.backend.slots
	}
}

// leave closes the connection.
func (u *upstream) leave() {
	u.settled()
	u.backend.sessions.Add(-1)
	u.raw.Close()
}

// reach returns a connection to the first backend that can be reached and has
// greeted, before ctx ends. Each is tried once, and waited for no longer than
// patience while all its login slots are taken.
func (b *Backends) reach(ctx context.Context, patience time.Duration, w caller) (*upstream, error) {
	tried := map[*backend]bool{}
	var failure error
	for {
		one, err := b.slot(patience, tried)
		if err != nil {
			return nil, errors.Join(failure, err)
		}
		raw, conn, err := b.open(ctx, one, w, b.protocol.Welcome)
		if err == nil {
			one.sessions.Add(1)
			return &upstream{Conn: conn, raw: raw, backend: one, inLogin: true}, nil
		}
		<-one.slots
		if ctx.Err() != nil || ownFault(err) {
			return nil, err
		}
		one.set(false)
		tried[one] = true
		failure = err
	}
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

// Limits on how long a backend may take. Dovecot delays the reply to a denied
// login by up to 17 s; replayTimeout must outlast that.
const (
	dialTimeout    = 3 * time.Second
	welcomeTimeout = 5 * time.Second
	replayTimeout  = 30 * time.Second
)

// greet reads a backend's greeting, and starts TLS by upgrade unless that is nil.
type greet func(conn *dialogue.Conn, upgrade func() error) error

// open connects to one backend, announces w, begins TLS as configured and lets g
// read the greeting, before ctx ends. The caller closes the connection.
func (b *Backends) open(ctx context.Context, one *backend, w caller, g greet) (net.Conn, *dialogue.Conn, error) {
	begun := time.Now()
	raw, err := b.connect(ctx, one.addr)
	if err != nil {
		one.count(dialResult(err))
		return nil, nil, fmt.Errorf("dial backend %s: %w", one.addr, err)
	}
	deadline := time.Now().Add(welcomeTimeout)
	if end, ok := ctx.Deadline(); ok {
		deadline = earlier(deadline, end)
	}
	raw.SetDeadline(deadline)
	conn, err := b.announce(one, raw, w, g)
	if err != nil {
		raw.Close()
		one.count(greetResult(err))
		return nil, nil, fmt.Errorf("greet backend %s: %w", one.addr, err)
	}
	one.count(DialOK)
	one.dialTime.Add(int64(time.Since(begun)))
	return raw, conn, nil
}

// announce sends the PROXY header and reads the greeting, in TLS as configured.
func (b *Backends) announce(one *backend, raw net.Conn, w caller, g greet) (*dialogue.Conn, error) {
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
