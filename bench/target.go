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
)

// Target is a server under load.
type Target struct {
	Name string
	// Backend is the stand-in mail server behind a target that the bench has
	// started; nil for any other.
	Backend *backend.Control

	doors    map[door]string // host:port
	pid      int             // 0 if it runs elsewhere
	loopback bool
	announce bool
	tls      *tls.Config
	accounts accounts
	patience time.Duration
	tidy     func() // after every round, nil for nothing
	flood    func(context.Context, Flood) (*Flooded, error)
	dial     func(context.Context) (net.Conn, error) // replaces the network in tests
}

// door is one way into a target.
type door struct {
	protocol client.Protocol
	security client.Security
}

// accounts says who logs in. The name may hold one %d.
type accounts struct{ name, secret string }

// Account returns the i-th account and its password.
func (t *Target) Account(i int) (account, secret string) {
	if t.accounts.name == "" {
		account = fmt.Sprintf("user%06d@bench.example", i%1000000)
		return account, backend.Secret(account)
	}
	if strings.Contains(t.accounts.name, "%d") {
		return fmt.Sprintf(t.accounts.name, i), t.accounts.secret
	}
	return t.accounts.name, t.accounts.secret
}

// Source returns the i-th client address: a loopback address, or any if it is
// announced. It is zero, and up to the system, where a target is elsewhere.
func (t *Target) Source(i int) netip.Addr {
	switch {
	case t.announce:
		return netip.AddrFrom4([4]byte{100, 64 + byte(i>>16&63), byte(i >> 8), byte(i)})
	case t.loopback:
		return netip.AddrFrom4([4]byte{127, 1, byte(i / 250 % 250), byte(1 + i%250)})
	}
	return netip.Addr{}
}

// Caller returns a client of one door; ErrNotOffered if there is none.
func (t *Target) Caller(p client.Protocol, s client.Security) (*client.Caller, error) {
	addr, found := t.doors[door{p, s}]
	if !found {
		return nil, fmt.Errorf("%s: %s, %s: %w", t.Name, p, s, ErrNotOffered)
	}
	return &client.Caller{Addr: addr, Protocol: p, Security: s, TLS: t.tls, Announce: t.announce, Patience: t.patience, Dial: t.dial}, nil
}

// errElsewhere says that a target's processes cannot be seen.
var errElsewhere = errors.New("it is not a child of the bench")

// meter reads what a target has cost so far.
type meter struct {
	t     *Target
	cpu   time.Duration
	asked backend.Counts
}

// Meter begins to count what the target does.
func (t *Target) Meter(ctx context.Context) (m meter, err error) {
	m.t = t
	if t.pid != 0 {
		if m.cpu, err = machine.Spent(t.pid); err != nil {
			return m, err
		}
	}
	if t.Backend != nil {
		m.asked, err = t.Backend.Counts(ctx)
	}
	return m, err
}

// CPU returns the CPU time of the target's whole tree of processes since the
// meter was begun, and whether it can be known.
func (m meter) CPU() (time.Duration, bool) {
	if m.t.pid == 0 {
		return 0, false
	}
	now, err := machine.Spent(m.t.pid)
	return now - m.cpu, err == nil
}

// Asked returns what the mail server behind the target has been asked since the
// meter was begun, and whether it can be known.
func (m meter) Asked(ctx context.Context) (backend.Counts, bool) {
	if m.t.Backend == nil {
		return backend.Counts{}, false
	}
	now, err := m.t.Backend.Counts(ctx)
	return backend.Counts{
		Accepted: now.Accepted - m.asked.Accepted, Denied: now.Denied - m.asked.Denied,
		TurnedAway: now.TurnedAway - m.asked.TurnedAway, Open: now.Open,
	}, err == nil
}

// Memory returns the proportional set size of the target's processes in octets.
func (t *Target) Memory() (int64, error) {
	if t.pid == 0 {
		return 0, errElsewhere
	}
	return machine.Memory(t.pid)
}

// Descriptors returns how many descriptors the target's processes have open.
func (t *Target) Descriptors() (int64, error) {
	if t.pid == 0 {
		return 0, errElsewhere
	}
	return machine.Descriptors(t.pid)
}
