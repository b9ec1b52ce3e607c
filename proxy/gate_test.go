package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
	"postern/proxy/standin"
)

// Where everybody is.
const (
	gateAddr    = "192.0.2.1:143"
	clientAddr  = "203.0.113.7:40000"
	backendAddr = "192.0.2.25:143"
	otherAddr   = "192.0.2.26:143"
)

var (
	clientIP  = netip.MustParseAddrPort(clientAddr).Addr()
	gateCert  = newTestCertificate("mail.example.org")
	imapDoor  = Listener{Name: "imap", Protocol: dialogue.IMAP{}, Config: gateCert.Server()}
	imapsDoor = Listener{Name: "imaps", Protocol: dialogue.IMAP{}, TLS: Implicit, Config: gateCert.Server()}
	pop3Door  = Listener{Name: "pop3", Protocol: dialogue.POP3{}, Config: gateCert.Server()}
	pop3sDoor = Listener{Name: "pop3s", Protocol: dialogue.POP3{}, TLS: Implicit, Config: gateCert.Server()}
)

func newTestCertificate(names ...string) *standin.Certificate {
	c, err := standin.NewCertificate(names...)
	if err != nil {
		panic(err)
	}
	return c
}

// gate is a whole Server in memory, with backends played by the test. It lives in
// a synctest bubble. When the test is over it closes the server, and demands that
// nothing is left.
type gate struct {
	*Server
	t        testing.TB
	backends *Backends
	policy   limiter.Policy
	playing  sync.WaitGroup

	mu       sync.Mutex
	plays    map[string]func(*peer) // by the backend's address; nobody listens elsewhere
	dials    map[string]int
	attempts []Attempt
	records  []Record
}

// newGate returns a gate with one backend, which limits nothing and allows
// passwords in clear text.
func newGate(t *testing.T, p dialogue.Protocol, play func(*peer)) *gate {
	return newGateOf(t, p, BackendConfig{Addrs: []string{backendAddr}, Logins: 10}, map[string]func(*peer){backendAddr: play})
}

func newGateOf(t *testing.T, p dialogue.Protocol, c BackendConfig, plays map[string]func(*peer)) *gate {
	t.Helper()
	g := &gate{t: t, plays: plays, dials: map[string]int{}, backends: NewBackends(p, c)}
	g.backends.connect = g.connect
	offer := offers[p.Name()]
	g.backends.offered.Store(&offer)
	g.Server = newTestServer(t, g.backends)
	g.CleartextLogin = true
	g.Settled = func(a Attempt) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.attempts = append(g.attempts, a)
	}
	g.Done = func(r Record) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.records = append(g.records, r)
	}
	t.Cleanup(g.finish)
	return g
}

// connect is how the gate dials.
func (g *gate) connect(addr string, _ time.Time) (netpoll.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dials[addr]++
	play := g.plays[addr]
	if play == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	if addr == namedAddr {
		addr = backendAddr
	}
	near, far := newMemPair("192.0.2.1:50000", addr)
	g.playing.Go(func() {
		defer far.Close()
		play(newBackend(g.t, far))
	})
	return netpoll.Wrap(near), nil
}

// play changes what a backend does; nil makes it refuse connections.
func (g *gate) play(addr string, play func(*peer)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plays[addr] = play
}

// finish closes the server and looks for what is left.
func (g *gate) finish() {
	g.Close()
	g.playing.Wait()
	if s := g.Stats(); s.Open != 0 || s.Tarpit != 0 || s.Relay != 0 {
		g.t.Errorf("after the end: %+v", s)
	}
	if n := g.prelogin.Len(); n != 0 {
		g.t.Errorf("after the end: %d are before login", n)
	}
	for _, b := range g.backends.Stats() {
		if b.Logins != 0 || b.Sessions != 0 {
			g.t.Errorf("after the end: backend %s has %d logins, %d sessions", b.Addr, b.Logins, b.Sessions)
		}
	}
	if n := g.handshakes.inUse(); n != 0 {
		g.t.Errorf("after the end: %d handshakes", n)
	}
}

// open serves a door until the test ends.
func (g *gate) open(d Listener) *memListener {
	g.t.Helper()
	ln := newMemListener(gateAddr)
	served := make(chan error, 1)
	go func() { served <- g.Serve(ln, d) }()
	g.t.Cleanup(func() {
		g.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			g.t.Errorf("Serve returned %v", err)
		}
	})
	return ln
}

// from returns a client that connects from addr and has said nothing yet.
func (g *gate) from(addr string, ln *memListener) *peer {
	g.t.Helper()
	near, _ := ln.dial(addr)
	return newClient(g.t, near)
}

// enter returns a client that has been greeted at door d.
func (g *gate) enter(d Listener) *peer {
	g.t.Helper()
	c := g.from(clientAddr, g.open(d))
	g.greeted(c, d)
	return c
}

// greeted takes c as far as the greeting.
func (g *gate) greeted(c *peer, d Listener) {
	g.t.Helper()
	if d.TLS == Implicit {
		c.startTLS(nil)
	}
	c.hear(map[string]string{"imap": "* OK …", "pop3": "+OK …"}[d.Protocol.Name()])
}

// dialled is how often a backend was dialled.
func (g *gate) dialled(addr string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dials[addr]
}

// settled returns the attempts told so far.
func (g *gate) settled() []Attempt {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Attempt(nil), g.attempts...)
}

// record closes the server and returns the record of its only connection.
func (g *gate) record() Record {
	g.t.Helper()
	all := g.allRecords()
	if len(all) != 1 {
		g.t.Fatalf("%d records: %+v", len(all), all)
	}
	return all[0]
}

// allRecords waits until all who have something to do have done it, closes the
// server and returns what it recorded.
func (g *gate) allRecords() []Record {
	synctest.Wait()
	g.Close()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Record(nil), g.records...)
}

// tokens is what the bucket of a source in a strict policy holds; it hardly
// refills while a test lasts.
const tokens = 10

// strict is a policy under which denials count, and delay as they become many.
func strict() limiter.Policy {
	return limiter.Policy{Source: limiter.Rate{Tokens: tokens, Per: 1000 * time.Hour}}
}

// limit gives the gate a limiter of policy p.
func (g *gate) limit(p limiter.Policy) {
	g.t.Helper()
	p.WaitMax, p.TableMax = g.TarpitMax, 10_000
	l, err := limiter.New(p, limiter.Key{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.Limiter, g.policy = l, p
}

// charged is how many tokens of a source are spent or held, under a policy as
// strict as strict is.
func (g *gate) charged(addr netip.Addr) int {
	g.t.Helper()
	now, alone := time.Now(), strict()
	alone.WaitMax, alone.TableMax = g.policy.WaitMax, g.policy.TableMax
	g.must(g.Limiter.SetPolicy(now, alone))
	defer func() { g.must(g.Limiter.SetPolicy(now, g.policy)) }()
	free := 0
	for range tokens + 1 {
		k := g.Limiter.Ask(now, limiter.Attempt{Addr: addr})
		defer k.Settle(now, limiter.Void)
		if k.Verdict().Action != limiter.Refuse {
			free++
		}
	}
	return tokens - free
}

func (g *gate) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}
