// Package daemon runs a gateway: it makes the parts from the settings, connects
// them, and serves from the start through reloads to the shutdown or to an upgrade.
//
// Each part is in a file of its own and keeps its own state: certs.go the
// certificates, known.go, snapshots.go, learn.go, ticketkeys.go and statedir.go what
// survives a restart, policy.go the limits, backends.go the mail servers, listeners.go
// the addresses, sockets.go those that are bound already, outcomes.go what is reported
// about clients, notices.go what users or a help desk are notified of, firewall.go the
// list for firewalls, sharing.go what is shared with other gateways, decide.go and
// block.go the decisions of operators, keeper.go what only one process of a gateway may
// do. daemon.go connects them, and makes the server that answers Dovecot's auth policy
// questions (package authpolicy); run.go has the life of the process, reload.go SIGHUP,
// systemd.go the service manager. status.go and view.go have what monitoring and
// operators see.
//
// # An upgrade
//
// A gateway may have several processes, its generations. The main one accepts
// connections. An upgrade starts the next; the one before it is then a former
// generation, which serves its sessions until they end. In reading order:
//
//	run.go           a signal or the admin API asks for an upgrade
//	upgrade.go       main starts the next generation, sends it sockets, keys and state,
//	                 and goes on as before if that fails
//	messages.go      what the two send each other
//	inherit.go       what a process has got when it is started: from main, or from the service manager
//	takeover.go      the next generation makes its parts of that, and accepts connections
//	retired.go       the former one stops accepting, sends what happens in it to the new
//	                 main one, and exits after its last session
//	observations.go  of that, what the detector must get
//	generations.go   main counts together with all former generations, and ends them
//
// What is sent is defined by packages limiter, incidents and proxy (Export, Feed,
// Forward, Counts), and how by package handover.
//
// What happens to a connection is in package proxy, and who may log in is in
// package limiter. How a denial gets from one gateway to another is in package sharing.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/authpolicy"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/metrics"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/page"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/proxy"
)

// Daemon is a running gateway.
type Daemon struct {
	config    config.Config // of the start; reload updates the values that can change
	log       *eventlog.Log
	metrics   *metrics.Metrics
	certs     *certificates // nil where no listener offers TLS
	policy    *policy
	backends  backends
	incidents *incidents.Manager
	notices   *notices.Manager // nil without NOTICE_URL
	recent    *recent.Memory
	deciding  *deciding
	firewall  *firewallFeed
	views     *views
	rates     rates
	server    *proxy.Server
	listeners []listener // the server closes those it serves
	unused    []string   // the names of sockets that were passed and are in no setting
	admin     *admin.Server
	asked     *authpolicy.Server // answers at POLICY_LISTEN
	manager   serviceManager
	keeper    keeper

	program     program // that an upgrade starts
	generations *generations

	phase      atomic.Uint32 // starting, serving, upgrading, draining or retiring
	failed     chan error    // holds the first failure that ends the daemon
	reloads    chan request[admin.Reloaded]
	upgrades   chan request[monitor.Generation]
	handedOver chan *handedOver   // holds the result of an upgrade, which ends serving
	shutdown   context.Context    // ends when the daemon is to end, and with it an upgrade
	endUpgrade context.CancelFunc // ends shutdown
	stop       context.CancelFunc // ends what serve started; nil before serve
	endLogins  context.CancelFunc // ends of that what only logins need
	running    sync.WaitGroup     // goroutines that serve started
}

// The phases of a Daemon, for /readyz.
const (
	starting uint32 = iota
	serving
	upgrading
	draining
	retiring // another process accepts connections
)

// open makes a Daemon from c and binds every address that was not passed, but accepts no
// connection yet. What another process hands over goes on in it. The error names the setting
// at fault. Call serve next, and close in the end.
func open(c config.Config, log *eventlog.Log, b Build, in inherited) (*Daemon, error) {
	lock, err := in.takeLock(stateDir(c.State.Dir))
	if err != nil {
		return nil, err
	}
	d, err := assemble(c, log, b, in)
	if err != nil {
		lock.Close()
		return nil, err
	}
	d.keeper.lock = lock
	return d, nil
}

// assemble is open without the lock of the state directory.
func assemble(c config.Config, log *eventlog.Log, b Build, in inherited) (*Daemon, error) {
	d := &Daemon{
		config: c, log: log, metrics: metrics.New(b.Version, b.Revision), manager: serviceManager{in.environ, log},
		failed: make(chan error, 1), handedOver: make(chan *handedOver, 1),
		reloads: make(chan request[admin.Reloaded]), upgrades: make(chan request[monitor.Generation]),
	}
	d.shutdown, d.endUpgrade = context.WithCancel(context.Background())
	var err error
	if d.certs, err = loadCertificates(c.TLS, log, d.metrics); err != nil {
		return nil, err
	}
	if d.backends, err = newBackends(&c, d.certs); err != nil {
		return nil, err
	}
	var t takeover // zero unless another process hands over to this one
	if in.takeover != nil {
		d.backends.learn() // now, for it may take long
		if err := in.takeover.takeState(d.manager); err != nil {
			return nil, err
		}
		t = *in.takeover
	}
	if err := d.openLimiter(&t); err != nil {
		return nil, err
	}
	if d.certs != nil && c.TLS.TicketKeys == "" {
		d.keeper.tickets = loadTicketKeys(time.Now(), stateDir(c.State.Dir), t.resources.TicketKeys, d.certs.source, log)
	}
	if err := d.openWatchers(&t); err != nil {
		return nil, err
	}
	if d.firewall, err = newFirewallFeed(d, t.firewall); err != nil {
		return nil, err
	}
	d.keeper.firewall = d.firewall
	d.makeServer()
	if err := d.openDecisions(in.generation(b), t.decisions); err != nil {
		return nil, err
	}
	if err := d.openSharing(b.Version, t.sharing); err != nil {
		return nil, err
	}
	d.views = newViews(d, &c, b.Version)
	d.registerGauges()
	d.metrics.Reloaded(time.Now(), nil)
	if err := d.bind(in.sockets); err != nil {
		return nil, err
	}
	if in.takeover == nil {
		d.backends.learn() // connections wait meanwhile
	}
	return d, nil
}

// openLimiter makes the limiter: like that of the process that hands over, or with full
// buckets and with the users it knew before the restart.
func (d *Daemon) openLimiter(t *takeover) error {
	dir := stateDir(d.config.State.Dir)
	key, passed := t.key()
	if !passed {
		var err error
		if key, err = installKey(&d.config, d.log); err != nil {
			return err
		}
	}
	l, err := limiter.New(d.config.Limits.Policy(d.config.Tarpit.Max), key)
	if err != nil {
		return fmt.Errorf("make the limiter: %w", err)
	}
	d.policy = newPolicy(l, d.config.Limits, d.config.Tarpit.Max, d.log)
	d.keeper.key, d.keeper.known = key, &knownStore{dir: dir, limiter: l, log: d.log, metrics: d.metrics}
	d.log.Explain = func(a limiter.Attempt, rule limiter.Rule) string { return l.Explain(time.Now(), a, rule) }
	if t.limiter != nil {
		d.keeper.known.takeOver(t.saved)
		return l.Import(time.Now(), t.limiter, t.resources.Former.Number)
	}
	d.keeper.known.restore(time.Now())
	return nil
}

// openDecisions makes the list of generations, of which own is this process, and what enforces the decisions of
// operators. former is an export of those of the process that hands over, nil without one.
func (d *Daemon) openDecisions(own monitor.Generation, former []byte) error {
	d.generations = &generations{log: d.log, limiter: d.policy.limiter, server: d.server, incidents: d.incidents, own: own}
	d.deciding = &deciding{
		store: decisions.New(decisionsPath(stateDir(d.config.State.Dir))), log: d.log, policy: d.policy, server: d.server, recent: d.recent, listed: d.firewall.list, formers: d.generations,
		guard: decisions.Guard{Named: ownNetworks(&d.config), Users: d.policy.limiter.Users}, observe: d.observe, wake: make(chan struct{}, 1),
	}
	d.keeper.deciding = d.deciding
	return d.deciding.load(time.Now(), former)
}

// makeServer makes the server of all listeners, which reports to the log, the
// metrics and the incidents.
func (d *Daemon) makeServer() {
	c := d.config
	o := &outcomes{d.log, d.metrics, d.policy, d.backends, d.incidents, d.notices, d.recent, d.firewall.list, &d.rates}
	d.server = &proxy.Server{
		Limiter:        d.policy.limiter,
		Backends:       d.backends,
		ProxyFrom:      c.Listeners.ProxyFrom,
		ForwardedFrom:  c.Listeners.ForwardedFrom,
		CleartextLogin: c.Listeners.CleartextLogin,
		Tries:          c.Limits.Tries,
		MaxConnections: c.Limits.MaxConnections,
		MaxDescriptors: c.MaxDescriptors,
		Tarpit:         proxy.TarpitLimits{Source: c.Tarpit.Source, Network: c.Tarpit.Network, Total: c.Tarpit.Total},
		TarpitMax:      c.Tarpit.Max,
		Timeouts:       proxy.Timeouts{Login: c.Timeouts.Login, Handshake: c.Timeouts.Handshake, Idle: c.Timeouts.Idle},
		Settled:        o.attempt,
		Done:           o.record,
	}
}

// openAuthPolicy makes what answers Dovecot about logins that do not come through the server.
func (d *Daemon) openAuthPolicy() error {
	token, err := d.config.Policy.Token()
	if err != nil {
		return err
	}
	var served []string
	for _, p := range d.config.Listeners.Protocols() {
		served = append(served, p.Name())
	}
	d.asked = authpolicy.New(authpolicy.Gateway{
		Server: d.server, Limiter: d.policy.limiter, Log: d.log, Count: d.metrics.PolicyRequest,
		Served: served, Token: token,
	})
	return nil
}

// registerGauges lets the metrics read the parts.
func (d *Daemon) registerGauges() {
	s := metrics.Sources{
		Server: d.server, Limiter: d.policy.limiter, Backends: d.backends, Dropped: d.log.Dropped,
		Incidents: d.incidents, Tightened: d.policy.tightened, Generations: d.generations.list,
		Decisions: func() map[decisions.Kind]int { return d.deciding.store.Count(time.Now()) },
		Firewall:  d.firewall.list.Stats,
	}
	if d.notices != nil {
		s.Notices = d.notices.Stats
	}
	if d.keeper.sharing != nil {
		s.Sharing = func() *monitor.Sharing { return d.sharingStatus(time.Now()) }
	}
	if d.certs != nil {
		s.Certs = d.certs.source
	}
	d.metrics.Register(s)
}

// bind binds all addresses but those of the sockets that were passed. After an error none
// is bound.
func (d *Daemon) bind(passed sockets) (err error) {
	if err = d.openAuthPolicy(); err != nil {
		passed.closeAll()
		return err
	}
	if d.listeners, err = openListeners(d.config.Listeners, d.certs, &passed); err != nil {
		passed.closeAll()
		return err
	}
	d.admin, err = admin.Open(&d.config, admin.Gateway{
		Log: d.log, Metrics: d.metrics.Handler(), Unready: d.unready, State: d.monitorState, Incidents: d.incidents,
		Learn: d.learn, Upgrade: d.askUpgrade, Reload: d.askReload, Passed: passed.takeFor,
		View: d.views.view, Explain: d.explain, Firewall: d.firewall.stream, Operator: d.firewall.operators.saw, Page: page.Handler(), Policy: d.asked,
		Decisions: d.deciding.list, Decide: d.deciding.decide, End: d.deciding.end, Release: d.deciding.release, Forget: d.deciding.forget,
	})
	if err == nil {
		if d.unused, err = passed.closeRest(d.log); err != nil {
			d.admin.Close()
		}
	}
	if err != nil {
		closeListeners(d.listeners)
	}
	return err
}

// observe sets whether verdicts are only observed.
func (d *Daemon) observe(on bool) {
	d.server.Observe(on)
	d.metrics.Observing(on)
	d.firewall.list.SetObserve(time.Now(), on)
}

// serve accepts connections. All that it starts runs until close.
func (d *Daemon) serve() {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	logins, endLogins := context.WithCancel(ctx)
	d.endLogins = endLogins
	for _, b := range d.backends {
		d.running.Go(func() { b.Watch(logins) })
	}
	d.running.Go(func() { d.backends.logChanges(logins, d.log) })
	if d.certs != nil {
		d.running.Go(func() { d.certs.watch(logins) })
	}
	for _, l := range d.listeners {
		d.running.Go(func() { d.serveListener(l) })
	}
	d.phase.Store(serving)
	d.running.Go(func() {
		if err := d.admin.Serve(); err != nil {
			d.fail(err)
		}
	})
}

// every calls do with the time once in each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(now time.Time)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(time.Now())
		}
	}
}

// serveListener serves one address until the server closes. If it ends before,
// the daemon fails.
func (d *Daemon) serveListener(l listener) {
	if err := d.server.Serve(l.listener, l.kind); !errors.Is(err, proxy.ErrServerClosed) {
		d.fail(fmt.Errorf("serve %s on %s: %w", l.kind.Name, l.listener.Addr(), err))
	}
}

// fail ends the daemon, so that the service manager restarts it. The first error
// counts.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// close ends everything that still runs and waits for it.
func (d *Daemon) close() {
	d.phase.Store(draining)
	d.server.Close()
	closeListeners(d.listeners)
	d.admin.Close()
	d.asked.Close()
	if d.stop != nil {
		d.stop()
	}
	d.running.Wait()
	d.keeper.close()
	d.log.ReportAll()
}

// Addr is where the listener of this name, as in proxy.ListenerKinds, is bound at its
// first address; empty if it is off.
func (d *Daemon) Addr(name string) string {
	for _, l := range d.listeners {
		if l.kind.Name == name {
			return l.listener.Addr().String()
		}
	}
	return ""
}

// PolicyAddr is where Dovecot asks about logins, nil if POLICY_LISTEN is off.
func (d *Daemon) PolicyAddr() net.Addr { return d.admin.PolicyAddr() }

// AdminAddr is where the admin API is bound. It must not be off.
func (d *Daemon) AdminAddr() net.Addr { return d.admin.Addr() }
