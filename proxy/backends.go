package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// BackendTLS is how TLS begins towards a backend.
type BackendTLS uint8

// The modes of TLS towards a backend.
const (
	BackendClear    BackendTLS = iota // never
	BackendStartTLS                   // by STARTTLS or STLS
	BackendImplicit                   // at once, behind the PROXY header
)

var backendTLS = []string{"off", "starttls", "tls"}

// String returns "off", "starttls" or "tls".
func (m BackendTLS) String() string { return backendTLS[m] }

// MarshalText returns the mode as String does.
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
	TLSConfig *tls.Config            // required unless TLS is BackendClear; without a ServerName each backend's host is verified
	Logins    int                    // in flight per backend
	Serves    func(name string) bool // server names that may be passed on; nil for none
}

// Backends is the pool of servers of one protocol that logins are replayed to. It is
// safe for concurrent use.
type Backends struct {
	protocol dialogue.Protocol
	config   BackendConfig
	all      []*backend
	connect  func(addr string, until time.Time) (netpoll.Conn, error)
	offered  atomic.Pointer[dialogue.Capabilities]
	offering sync.Mutex // held while offered is computed

	slots            int          // of each backend: how many logins may be in flight
	slotsTaken       atomic.Int64 // at all backends
	mu               sync.Mutex
	known, strangers limiter.Queue[*slotRequest]
	exchanges        limiter.Queue[*slotRequest]
	networks         map[netip.Prefix]*network // that have exchanges
	exchangeLast     bool                      // the last slot that was not for the known went to an exchange
	nextBackend      int                       // index of the backend that gives the next slot
}

// backend is one server.
type backend struct {
	addr      string
	tls       *tls.Config
	logins    int        // in flight; guarded by the pool's mu
	exchanges int        // of these; likewise
	strangers int        // of these; likewise
	elsewhere SlotCounts // of siblings; likewise
	up        atomic.Bool
	failed    chan struct{}                         // holds a token if a login failed to reach it since the last probe
	offer     atomic.Pointer[dialogue.Capabilities] // from the last probe that succeeded

	sessions   atomic.Int64
	dials      [numDialResults]atomic.Uint64
	dialTime   atomic.Int64 // nanoseconds, the sum over dials that succeeded
	changes    atomic.Uint64
	probeError atomic.Pointer[error]
	misses     int // probes that failed in a row; belongs to watch
}

// NewBackends returns the pool of backends of p. All count as up until Watch finds
// otherwise.
func NewBackends(p dialogue.Protocol, c BackendConfig) *Backends {
	b := &Backends{protocol: p, config: c, slots: max(c.Logins, 1), networks: map[netip.Prefix]*network{}, connect: netpoll.Dial}
	for _, addr := range c.Addrs {
		s := &backend{addr: addr, tls: withServerName(c.TLSConfig, addr), failed: make(chan struct{}, 1)}
		s.up.Store(true)
		b.all = append(b.all, s)
	}
	b.offered.Store(new(dialogue.Capabilities))
	return b
}

// withServerName returns c, or a copy that verifies the host of addr if c has no
// ServerName.
func withServerName(c *tls.Config, addr string) *tls.Config {
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

// Healthy reports whether at least one backend is up.
func (b *Backends) Healthy() bool {
	return slices.ContainsFunc(b.all, func(s *backend) bool { return s.up.Load() })
}

// errNoBackend says that no backend is up.
var errNoBackend = errors.New("no backend is up")

// ErrNoSlot is the error of an attempt for which all backends that are up had as many
// logins in flight as they may have.
var ErrNoSlot = errors.New("all backends are busy with logins")

// markFailed notes that a login could not reach s, and reports whether another backend
// should be tried: not if the cause is on this machine, nor once the time until has
// come. It takes s down if another is up, or if the connection was refused. The last
// backend remains up after any other failure, which may be due to load: a probe follows
// soon.
func (b *Backends) markFailed(s *backend, err error, until time.Time) bool {
	if isLocalFault(err) || !time.Now().Before(until) {
		return false
	}
	another := slices.ContainsFunc(b.all, func(other *backend) bool { return other != s && other.up.Load() })
	if another || errors.Is(err, syscall.ECONNREFUSED) {
		s.set(false)
	}
	s.probeSoon()
	return true
}

// isLocalFault reports whether a dial failed because this machine ran out of something,
// which says nothing about the backend.
func isLocalFault(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Limits on how long a backend may take to accept a connection, and to greet.
const (
	dialTimeout     = 3 * time.Second
	greetingTimeout = 5 * time.Second
)

// login connects to s, at which slot has been assigned, before the time until. The slot
// passes to the connection, or is given back if there is an error.
func (b *Backends) login(s *backend, slot *slotRequest, client clientInfo, until time.Time) (c *backendConn, err error) {
	defer func() {
		if c == nil { // after an error or a panic
			b.release(slot)
		}
	}()
	raw, conn, err := b.dial(s, client, until, b.protocol.ReadGreeting)
	if err != nil {
		return nil, err
	}
	s.sessions.Add(1)
	return &backendConn{Conn: conn, raw: raw, pool: b, backend: s, slot: slot}, nil
}

// greetFunc reads a backend's greeting. It starts TLS by upgrade unless that is nil.
type greetFunc func(conn *dialogue.Conn, upgrade func() error) error

// dial connects to one backend, announces the client, begins TLS as configured and has
// greet read the greeting, before the time until. The caller closes the connection.
func (b *Backends) dial(s *backend, client clientInfo, until time.Time, greet greetFunc) (netpoll.Conn, *dialogue.Conn, error) {
	started := time.Now()
	raw, err := b.connect(s.addr, earlier(until, started.Add(dialTimeout)))
	if err != nil {
		s.count(dialResult(err))
		return nil, nil, fmt.Errorf("dial backend %s: %w", s.addr, err)
	}
	greeted := false
	defer func() {
		if !greeted { // after an error or a panic
			raw.Close()
		}
	}()
	raw.SetDeadline(earlier(until, time.Now().Add(greetingTimeout)))
	conn, err := b.beginDialogue(s, raw, client, greet)
	if err != nil {
		s.count(greetResult(err))
		return nil, nil, fmt.Errorf("greet backend %s: %w", s.addr, err)
	}
	s.count(DialOK)
	s.dialTime.Add(int64(time.Since(started)))
	greeted = true
	return raw, conn, nil
}

// beginDialogue sends the PROXY header and reads the greeting, in TLS as configured. If
// the backend closes behind the header, the error is a HeaderError.
func (b *Backends) beginDialogue(s *backend, raw net.Conn, client clientInfo, greet greetFunc) (*dialogue.Conn, error) {
	if b.config.Proxy == ProxyOff {
		return b.greet(s, raw, greet)
	}
	gateway := addrPort(raw.LocalAddr())
	if !client.client.IsValid() {
		client.client, client.local = gateway, addrPort(raw.RemoteAddr())
	}
	header, err := client.header(b.config.Proxy, b.config.Serves)
	if err != nil {
		return nil, fmt.Errorf("make PROXY header: %w", err)
	}
	var conn *dialogue.Conn
	if _, err = raw.Write(header); err == nil { // one write: Dovecot drops a split header
		conn, err = b.greet(s, raw, greet)
	}
	if err != nil && IsClosed(err) && (conn == nil || !conn.Heard()) {
		err = &HeaderError{gateway.Addr().Unmap(), err}
	}
	return conn, err
}

// greet reads the greeting, in TLS as configured.
func (b *Backends) greet(s *backend, raw net.Conn, greet greetFunc) (*dialogue.Conn, error) {
	conn := dialogue.NewConn(raw)
	switch b.config.TLS {
	case BackendImplicit:
		conn.Restart(tls.Client(raw, s.tls))
	case BackendStartTLS:
		return conn, greet(conn, func() error {
			if conn.Buffered() > 0 {
				return errors.New("backend sent clear text after its reply to STARTTLS")
			}
			secure := tls.Client(raw, s.tls)
			conn.Restart(secure)
			return secure.Handshake()
		})
	}
	return conn, greet(conn, nil)
}

// IsClosed reports whether err says that the peer has closed or reset the connection.
func IsClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// DialResult is the result of a dial.
type DialResult uint8

// The results.
const (
	DialOK DialResult = iota
	DialRefused
	DialUnreachable
	DialTimeout         // no connection in time
	DialGreetingTimeout // no greeting in time
	DialReset           // closed, or a wrong greeting
	numDialResults
)

// String is the result's name in metrics.
func (r DialResult) String() string {
	return [...]string{"ok", "refused", "unreachable", "timeout", "greeting_timeout", "reset"}[r]
}

// dialResult sorts the error of a connect.
func dialResult(err error) DialResult {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return DialTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return DialRefused
	}
	return DialUnreachable
}

// greetResult sorts the error of a greeting.
func greetResult(err error) DialResult {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return DialGreetingTimeout
	}
	return DialReset
}

func (s *backend) count(r DialResult) { s.dials[r].Add(1) }
