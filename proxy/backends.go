package proxy

import (
	"crypto/tls"
	"errors"
	"net"
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
	connect  func(addr string, until time.Time) (netpoll.Conn, error)
	offered  atomic.Pointer[dialogue.Capabilities]

	slots            int          // of each backend: how many logins may be in flight
	slotsTaken       atomic.Int64 // at all backends
	mu               sync.Mutex
	known, strangers limiter.Queue[*slotRequest] // who wait for a slot
	nextBackend      int                         // which backend is next to give one
}

// backend is one server.
type backend struct {
	addr   string
	tls    *tls.Config
	logins int // in flight; guarded by the Backends' mu
	up     atomic.Bool
	failed chan struct{}                         // holds a token when it has failed since the last probe
	offer  atomic.Pointer[dialogue.Capabilities] // from the last probe that succeeded

	sessions   atomic.Int64
	dials      [numDialResults]atomic.Uint64
	dialTime   atomic.Int64 // nanoseconds, in sum over the dials that succeeded
	changes    atomic.Uint64
	probeError atomic.Pointer[string]
	misses     int // probes that failed in a row; watch's
}

// NewBackends returns the backends of p. All count as up until Watch finds
// otherwise.
func NewBackends(p dialogue.Protocol, c BackendConfig) *Backends {
	b := &Backends{protocol: p, config: c, slots: max(c.Logins, 1), connect: netpoll.Dial}
	for _, addr := range c.Addrs {
		one := &backend{addr: addr, tls: named(c.TLSConfig, addr), failed: make(chan struct{}, 1)}
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

// blame notes that a login could not enter one, and says whether another may do
// better: not if the gate itself is to blame, nor if the time until has come. It
// takes the backend down if there is another, or if nobody listens there. The last
// one stays: any other failure may be its load, which must not make an outage. A
// probe will tell soon.
func (b *Backends) markFailed(one *backend, err error, until time.Time) bool {
	if ownFault(err) || !time.Now().Before(until) {
		return false
	}
	another := slices.ContainsFunc(b.all, func(other *backend) bool { return other != one && other.up.Load() })
	if another || errors.Is(err, syscall.ECONNREFUSED) {
		one.set(false)
	}
	one.probeSoon()
	return true
}
