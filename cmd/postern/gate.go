package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/tlsconf"
)

// certCheck is how often the certificate files are looked at.
const certCheck = 10 * time.Second

// gate is one running postern: every room with its doors, wired together.
type gate struct {
	config    Config // of the start; reload renews its values, for those that can change
	journal   *journal
	metrics   *metrics
	certs     *tlsconf.Source // nil where no door offers TLS
	installed limiter.Key
	limiter   *limiter.Limiter
	inForce   inForce
	backends  map[string]*proxy.Backends // by the protocols that have a door
	lookout   *incidents.Manager
	exempt    atomic.Pointer[networks] // as in force
	server    *proxy.Server
	entrances []entrance     // closed by the server once it serves them
	admin     []*adminServer // closed by closeAdmin
	token     string         // that writing through a TCP address asks for; empty allows none

	state    atomic.Uint32      // opening, serving or draining
	failed   chan error         // holds the first thing that broke for good
	stop     context.CancelFunc // ends what watches; nil before serve
	watchers sync.WaitGroup     // every goroutine that serve begins
}

// The states of a gate, for /readyz.
const (
	opening uint32 = iota
	serving
	draining
)

// open makes a gate from c and binds every address, but lets nobody in yet. The
// error names the setting at fault. The caller calls serve, and close in the
// end.
func open(c Config, j *journal, b build) (*gate, error) {
	g := &gate{config: c, journal: j, metrics: newMetrics(b), failed: make(chan error, 1)}
	for _, step := range []func() error{g.loadCerts, g.makeLimiter, g.makeBackends, g.makeLookout, g.makeToken} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	g.makeServer()
	g.observe(c.Limits.Mode)
	g.metrics.registry.MustRegister(watchGauges{g.lookout, g.isTight}, &gauges{g.server, g.limiter, g.backends, g.certs, j.quota})
	g.metrics.reloaded(time.Now(), nil)

	var err error
	if g.entrances, err = openDoors(c.Doors, g.certs); err != nil {
		return nil, err
	}
	if err := g.openAdmin(); err != nil {
		closeDoors(g.entrances)
		return nil, err
	}
	return g, nil
}

// loadCerts reads the certificates. No door needs one where none are set: that
// has been checked.
func (g *gate) loadCerts() (err error) {
	t := g.config.TLS
	if len(t.Certs) == 0 {
		return nil
	}
	g.certs, err = tlsconf.Load(tlsconf.Config{
		Certs: t.Certs, Keys: t.Keys, MinVersion: uint16(t.MinVersion), TicketKeyFile: string(t.TicketKeys),
	})
	if config, ok := errors.AsType[*tlsconf.ConfigError](err); ok {
		return wrong(tlsSettings[config.Field], "%v", err)
	}
	return err
}

// tlsSettings are the settings behind the fields of tlsconf.Config.
var tlsSettings = map[string]string{
	"Certs": "TLS_CERT", "Keys": "TLS_KEY", "MinVersion": "TLS_MIN", "TicketKeyFile": "TLS_TICKET_KEYS",
}

// makeLimiter makes the limiter. Its buckets begin full, and it knows whom it knew
// before.
func (g *gate) makeLimiter() error {
	g.exempt.Store(&g.config.Limits.Exempt)
	g.inForce.limits = g.config.Limits
	key, err := g.installKey()
	if err != nil {
		return err
	}
	g.installed = key
	if g.limiter, err = limiter.New(g.config.Limits.policy(g.config.Tarpit.Max), key); err != nil {
		return err
	}
	g.recall()
	g.journal.explain = g.explain
	return nil
}

// policy is what s asks of the limiter. No attempt waits for longer than
// longest.
func (s LimitSettings) policy(longest time.Duration) limiter.Policy {
	return limiter.Policy{
		Connect: s.Connect, Open: int(s.Open), OpenPrelogin: int(s.OpenPrelogin),
		Source: s.Source, Network: s.Network, Pair: s.Pair, Account: s.Account,
		Global: s.Global, KnownShare: int(s.KnownShare), RepeatTTL: time.Duration(s.Repeat), KnownTTL: time.Duration(s.Known),
		WaitMax: longest, Exempt: s.Exempt, TableMax: s.TableMax,
	}
}

// makeBackends makes the backends of every protocol that has a door.
func (g *gate) makeBackends() error {
	b, d := g.config.Backend, g.config.Doors
	pc := proxy.BackendConfig{Proxy: b.Proxy, TLS: b.TLS, Logins: b.Logins}
	if b.TLS != proxy.BackendClear {
		var err error
		if pc.TLSConfig, err = tlsconf.Client(string(b.CA), string(b.Name)); err != nil {
			return wrong("BACKEND_TLS_CA", "%v", err)
		}
	}
	if g.certs != nil {
		pc.Serves = g.certs.Serves
	}
	g.backends = map[string]*proxy.Backends{}
	if len(d.IMAP)+len(d.IMAPS) > 0 {
		pc.Addrs = b.IMAP
		g.backends["imap"] = proxy.NewBackends(dialogue.IMAP{}, pc)
	}
	if len(d.POP3)+len(d.POP3S) > 0 {
		pc.Addrs = b.POP3
		g.backends["pop3"] = proxy.NewBackends(dialogue.POP3{}, pc)
	}
	return nil
}

// makeServer wires the rooms. What they tell goes to the log and to the metrics,
// from here and nowhere else.
func (g *gate) makeServer() {
	c := g.config
	g.server = &proxy.Server{
		Limiter:        g.limiter,
		Backends:       g.backends,
		ProxyFrom:      c.Doors.ProxyFrom,
		CleartextLogin: c.Doors.CleartextLogin,
		Tries:          c.Limits.Tries,
		MaxConnections: c.Limits.MaxConnections,
		MaxDescriptors: c.descriptors,
		Tarpit:         proxy.TarpitLimits{Source: c.Tarpit.Source, Network: c.Tarpit.Network, Total: c.Tarpit.Total},
		TarpitMax:      c.Tarpit.Max,
		Timeouts:       proxy.Timeouts{Login: c.Timeouts.Login, Handshake: c.Timeouts.Handshake, Idle: c.Timeouts.Idle},
		Settled:        g.settled,
		Done:           g.done,
	}
}

// observe puts the mode in force.
func (g *gate) observe(m mode) {
	g.server.Observe(m == observe)
	g.metrics.observing(m == observe)
}

// learnTime is how long the doors stay closed for backends that do not answer.
const learnTime = 2 * time.Second

// learn asks the backends what they offer, so that the first clients are
// offered it too.
func (g *gate) learn() {
	ctx, cancel := context.WithTimeout(context.Background(), learnTime)
	defer cancel()
	var asked sync.WaitGroup
	for _, b := range g.backends {
		asked.Go(func() { b.Learn(ctx) })
	}
	asked.Wait()
}

// serve lets clients in once the backends have been asked what they offer.
// What watches backends and certificates runs until close.
func (g *gate) serve() {
	g.learn()
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	for _, b := range g.backends {
		g.watchers.Go(func() { b.Watch(ctx) })
	}
	g.watchers.Go(func() { g.tellOfBackends(ctx) })
	g.watchers.Go(func() { g.remember(ctx) })
	g.watchers.Go(func() { g.lookout.Run(ctx) })
	if g.certs != nil {
		g.watchers.Go(func() { g.certs.Watch(ctx, certCheck, g.certsChanged) })
	}
	for _, e := range g.entrances {
		g.watchers.Go(func() { g.attend(e) })
	}
	for _, a := range g.admin {
		g.watchers.Go(func() { g.serveAdmin(a) })
	}
	g.state.Store(serving)
}

// attend serves one entrance until the server closes, and reports if it ends
// before.
func (g *gate) attend(e entrance) {
	if err := g.server.Serve(e.listener, e.door); !errors.Is(err, proxy.ErrServerClosed) {
		g.fail(fmt.Errorf("serve %s on %s: %w", e.door.Name, e.listener.Addr(), err))
	}
}

// fail tells of the first thing that broke for good.
func (g *gate) fail(err error) {
	select {
	case g.failed <- err:
	default:
	}
}

// drain lets no one in any more, takes leave of those who have not logged in,
// and lets the others finish until ctx ends.
func (g *gate) drain(ctx context.Context) error {
	g.state.Store(draining)
	return g.server.Shutdown(ctx)
}

// close ends whatever still runs and waits for it.
func (g *gate) close() {
	g.state.Store(draining)
	g.server.Close()
	closeDoors(g.entrances)
	g.closeAdmin()
	if g.stop != nil {
		g.stop()
	}
	g.watchers.Wait()
	g.save()
	g.journal.missed()
}
