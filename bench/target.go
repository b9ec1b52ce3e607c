package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/bench/backend"
	"postern/bench/client"
	"postern/bench/machine"
	"postern/limiter/traffic"
)

// target is a server under load.
type target struct {
	name    string
	backend *backend.Control // of the stand-in mail server; nil for a remote target

	listeners   map[listener]string // host:port
	admin       string              // host:port of postern's admin API, "" for none
	pid         int                 // 0 for a remote target
	loopback    bool                // clients may choose a loopback address
	proxyHeader bool                // clients send their address in a PROXY header
	sasl        bool                // clients can use all SASL mechanisms of the mail server
	tls         *tls.Config         // of clients
	user        loginAccount        // empty for a target behind which every account exists
	users       []User              // of a running gateway, in place of user
	timeout     time.Duration       // of one client
	afterRound  func()              // nil for nothing
	// another starts another target of the same kind, with further settings of postern; nil
	// for a remote target. The caller calls stop.
	another func(ctx context.Context, more ...string) (other *target, stop func(), err error)
	flood   func(context.Context, floodConfig) (*floodResult, error)
	connect func(context.Context) (net.Conn, error) // replaces the network in tests
}

// listener is how a client reaches a target.
type listener struct {
	protocol client.Protocol
	security client.Security
}

// loginAccount is who logs in at a remote target. The name may contain one %d.
type loginAccount struct{ name, secret string }

// account returns the name and the password of the i-th account.
func (t *target) account(i int) (name, secret string) {
	if len(t.users) > 0 {
		u := t.users[i%len(t.users)]
		return u.Account, u.Password
	}
	if t.user.name == "" {
		name = fmt.Sprintf("user%06d@bench.example", i%1000000)
		return name, backend.Secret(name)
	}
	if strings.Contains(t.user.name, "%d") {
		return fmt.Sprintf(t.user.name, i), t.user.secret
	}
	return t.user.name, t.user.secret
}

// source returns the i-th client address: any IPv4 address for a PROXY header,
// else a loopback address. For a remote target it is the zero address, which
// leaves the choice to the system.
func (t *target) source(i int) netip.Addr {
	switch {
	case t.proxyHeader:
		return netip.AddrFrom4([4]byte{100, 64 + byte(i>>16&63), byte(i >> 8), byte(i)})
	case t.loopback:
		return netip.AddrFrom4([4]byte{127, 1, byte(i / 250 % 250), byte(1 + i%250)})
	}
	return netip.Addr{}
}

// sourceFor returns the client address that represents addr: addr itself in a
// PROXY header, else a loopback address.
func (t *target) sourceFor(addr netip.Addr) (netip.Addr, error) {
	switch {
	case t.proxyHeader:
		return addr, nil
	case !t.loopback:
		return addr, fmt.Errorf("%w: clients have many addresses, which at a server that is not on IPv4 loopback needs PROXY headers: add -proxy, and list this machine in PROXY_FROM there", errNotOffered)
	}
	if addr, ok := traffic.Loopback(addr); ok {
		return addr, nil
	}
	return addr, fmt.Errorf("%w: IPv6 addresses need PROXY headers (-proxy): the loopback network has no IPv6 prefixes", errNotOffered)
}

// dialer returns a client of one listener, or errNotOffered.
func (t *target) dialer(p client.Protocol, s client.Security) (*client.Dialer, error) {
	addr, found := t.listeners[listener{p, s}]
	if !found {
		return nil, fmt.Errorf("%s: %s, %s: %w", t.name, p, s, errNotOffered)
	}
	return &client.Dialer{Addr: addr, Protocol: p, Security: s, TLS: t.tls, ProxyHeader: t.proxyHeader, Timeout: t.timeout, Connect: t.connect}, nil
}

// gatewayListeners are the listeners of a running gateway that the traffic of a
// site can use, the preferred one first. They are those of -imaps, -imap, -pop3s
// and -pop3.
var gatewayListeners = []listener{{client.IMAP, client.TLS}, {client.IMAP, client.StartTLS}, {client.POP3, client.TLS}, {client.POP3, client.StartTLS}}

// trafficDialer returns a client for the traffic of a site: in clear text at a
// target of the bench, so that one machine can run thousands of attackers, and
// in TLS at a running gateway, which needs it.
func (t *target) trafficDialer() (*client.Dialer, error) {
	if len(t.users) == 0 {
		return t.dialer(client.IMAP, client.Plain)
	}
	for _, l := range gatewayListeners {
		if t.listeners[l] != "" {
			return t.dialer(l.protocol, l.security)
		}
	}
	return nil, fmt.Errorf("%s: %w", t.name, errNotOffered)
}

// errRemote is returned where only a local process can be read.
var errRemote = errors.New("not a process of the bench")

// memory returns the proportional set size of the target's processes in octets.
func (t *target) memory() (int64, error) {
	if t.pid == 0 {
		return 0, errRemote
	}
	return machine.Memory(t.pid)
}

// descriptors returns how many file descriptors the target's processes have
// open.
func (t *target) descriptors() (int64, error) {
	if t.pid == 0 {
		return 0, errRemote
	}
	return machine.Descriptors(t.pid)
}

// meter counts what a target uses and asks from the time it was made.
type meter struct {
	t         *target
	cpuBefore time.Duration
	before    backend.Counts
}

// meter returns a meter that counts from now on.
func (t *target) meter(ctx context.Context) (m meter, err error) {
	m.t = t
	if t.pid != 0 {
		if m.cpuBefore, err = machine.CPUTime(t.pid); err != nil {
			return m, err
		}
	}
	if t.backend != nil {
		m.before, err = t.backend.Counts(ctx)
	}
	return m, err
}

// cpu returns the CPU time of the target's process tree, and whether it is
// known.
func (m meter) cpu() (time.Duration, bool) {
	if m.t.pid == 0 {
		return 0, false
	}
	now, err := machine.CPUTime(m.t.pid)
	return now - m.cpuBefore, err == nil
}

// counts returns how many passwords the mail server behind the target has
// checked, and whether that is known.
func (m meter) counts(ctx context.Context) (backend.Counts, bool) {
	if m.t.backend == nil {
		return backend.Counts{}, false
	}
	now, err := m.t.backend.Counts(ctx)
	return backend.Counts{
		Accepted: now.Accepted - m.before.Accepted, Denied: now.Denied - m.before.Denied, Former: now.Former - m.before.Former,
	}, err == nil
}
