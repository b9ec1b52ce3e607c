package daemon

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/proxy"
)

// This file does what operators decide: it enforces their decisions, and ends those that
// are over.

// deciding has the decisions of operators and enforces them. Former generations have none
// any more; they close connections when the main one asks for that.
type deciding struct {
	store   *decisions.Store
	log     *eventlog.Log
	policy  *policy
	server  *proxy.Server
	recent  *recent.Memory
	listed  *firewall.List // for firewalls
	formers *generations
	guard   decisions.Guard // without EXEMPT, which may change
	observe func(on bool)

	enforcing sync.Mutex // so that the latest of the store is enforced last

	receiving sync.Mutex
	received  []decisions.Change // of other gateways, which run applies
	wake      chan struct{}      // there are some
}

// decisionsPath is the file with the decisions, empty without a state directory.
func decisionsPath(dir stateDir) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(string(dir), decisions.File)
}

// ownNetworks are the networks that belong to the service, by what they are. EXEMPT is not
// among them.
func ownNetworks(c *config.Config) map[string][]netip.Prefix {
	own := map[string][]netip.Prefix{"PROXY_FROM": c.Listeners.ProxyFrom, "FORWARDED_FROM": c.Listeners.ForwardedFrom}
	for _, backend := range c.Backend.Addrs() {
		if addr, err := netip.ParseAddrPort(backend); err == nil {
			own["a backend"] = append(own["a backend"], limiter.Source(addr.Addr()))
		}
	}
	addrs, _ := net.InterfaceAddrs() // without them, these are not checked
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			own["the gateway itself"] = append(own["the gateway itself"], netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	return own
}

// load reads the decisions of before the restart, or takes those of the process that hands
// over, and enforces them.
func (o *deciding) load(t time.Time, former []byte) error {
	if former != nil {
		if err := o.store.Import(t, former); err != nil {
			return err
		}
	} else if err := o.store.Load(t); err != nil {
		o.log.Error("no decision of before the start is in force", slog.String("event", "state"), eventlog.Error(err))
	}
	o.enforce(t)
	return nil
}

// enforce has the limiter and the server do what is decided at time t.
func (o *deciding) enforce(t time.Time) {
	o.enforcing.Lock()
	defer o.enforcing.Unlock()
	o.policy.limiter.SetLists(o.store.Lists(t))
	o.observe(o.observing(t))
}

// applySettings enforces what is decided at time t after the settings have changed. before says whether verdicts were only
// observed until then.
func (o *deciding) applySettings(t time.Time, before bool) {
	o.enforce(t)
	if before {
		o.close(t, everything)
	}
}

// observing reports whether verdicts are only observed at time t.
func (o *deciding) observing(t time.Time) bool {
	if d, decided := o.store.Mode(t); decided {
		return d.Kind == decisions.Observe
	}
	return o.policy.observes()
}

// expire ends the decisions that are over at time t.
func (o *deciding) expire(t time.Time) {
	over, notSaved := o.store.Expire(t)
	if len(over) == 0 {
		return
	}
	o.enforce(t)
	for _, d := range over {
		o.closeAfter(t, &d)
		o.log.Info("decision ended by time", append(decisionAttrs(&d), eventlog.Error(notSaved))...)
	}
}

// decide makes and enforces a decision at time t, for a request from remote.
func (o *deciding) decide(t time.Time, r decisions.Request, remote netip.Addr) (decisions.Result, error) {
	g := o.guard
	g.Named = maps.Clone(o.guard.Named)
	g.Named["EXEMPT"] = o.policy.exempt()
	done, err := o.store.Decide(t, r, remote, &g)
	if err != nil {
		return done, err
	}
	o.enforce(t)
	d := &done.Decision
	switch d.Kind {
	case decisions.Block:
		done.Closed = o.close(t, []netip.Prefix{d.Network})
		if o.observing(t) {
			done.Warning = joinWarnings(done.Warning, "verdicts are only observed now, so it refuses nobody")
		}
	case decisions.Enforce:
		done.Closed = o.close(t, everything)
	}
	o.log.Info("decision made", append(decisionAttrs(d), slog.Int("closed", done.Closed), slog.Int("users", done.Users), slog.Bool("force", r.Force),
		slog.String("warning", eventlog.Printable(done.Warning, eventlog.ErrorMax)))...)
	return done, nil
}

// share shares decisions with the other gateways of the site from now on; see Store.Share.
func (o *deciding) share(t time.Time, gateway string, clock func(time.Time) time.Time, send func(decisions.Change)) {
	if err := o.store.Share(t, gateway, clock, send); err != nil {
		o.log.Error("who has made decisions at other gateways is not known any more", slog.String("event", "state"), eventlog.Error(err))
	}
	o.enforce(t) // a decision may have ended elsewhere
}

// apply enforces changes at time t that other gateways of the site have made. Those that this one has already have no effect.
func (o *deciding) apply(t time.Time, changes ...decisions.Change) {
	applied, err := o.store.Apply(t, changes...)
	o.enforceShared(t, applied, err)
}

// receive has run apply a change that another gateway has made. It does not wait for that, and those that come meanwhile are
// applied together: to apply one costs much if there are many decisions.
func (o *deciding) receive(c decisions.Change) {
	o.receiving.Lock()
	o.received = append(o.received, c)
	o.receiving.Unlock()
	select {
	case o.wake <- struct{}{}:
	default: // it is to wake up already
	}
}

// applyReceived applies at time t what was received.
func (o *deciding) applyReceived(t time.Time) {
	o.receiving.Lock()
	changes := o.received
	o.received = nil
	o.receiving.Unlock()
	if len(changes) > 0 {
		o.apply(t, changes...)
	}
}

// merge enforces at time t what a snapshot of another gateway has, or nil if there is none.
func (o *deciding) merge(t time.Time, snapshot []byte) {
	applied, err := o.store.MergeShared(t, snapshot)
	o.enforceShared(t, applied, err)
}

// enforceShared enforces changes that the store has applied, and logs the error.
func (o *deciding) enforceShared(t time.Time, applied []decisions.Change, err error) {
	if err != nil {
		o.log.Warn("cannot apply all decisions of other gateways", slog.String("event", "decision"), eventlog.Error(err))
	}
	if len(applied) == 0 {
		return
	}
	o.enforce(t)
	var networks []netip.Prefix // whose connections may be refused now
	for i := range applied {
		c := &applied[i]
		if c.Ended == (c.Decision.Kind == decisions.Allow) {
			networks = append(networks, c.Decision.Network)
		}
		attrs := append(decisionAttrs(&c.Decision), slog.String("gateway", eventlog.Printable(c.Gateway, eventlog.NameMax)))
		if c.Ended {
			o.log.Info("decision ended at another gateway", append(attrs, slog.String("ended_by", eventlog.Printable(c.EndedBy, eventlog.NameMax)))...)
		} else {
			o.log.Info("decision made at another gateway", attrs...)
		}
	}
	if n := o.close(t, networks); n > 0 {
		o.log.Info("connections closed", slog.String("event", "decision"), slog.Int("networks", len(networks)), slog.Int("closed", n))
	}
}

// joinWarnings joins two warnings, of which the first may be empty.
func joinWarnings(first, second string) string {
	if first == "" {
		return second
	}
	return first + "; " + second
}

// list returns the decisions that are in force.
func (o *deciding) list() []decisions.Decision { return o.store.List(time.Now()) }

// end ends a decision at time t.
func (o *deciding) end(t time.Time, id, by string) (decisions.Decision, error) {
	d, notSaved, err := o.store.End(t, id, by)
	if err != nil {
		return d, err
	}
	o.enforce(t)
	o.closeAfter(t, &d)
	o.log.Info("decision ended", append(decisionAttrs(&d), slog.String("ended_by", eventlog.Printable(by, eventlog.NameMax)), eventlog.Error(notSaved))...)
	return d, nil
}

// decisionAttrs are the fields of d in the log. What an operator wrote comes last.
func decisionAttrs(d *decisions.Decision) []any {
	until := decisions.Forever
	if !d.Until.IsZero() {
		until = d.Until.Format(time.RFC3339)
	}
	network := ""
	if d.Network.IsValid() {
		network = d.Network.String()
	}
	return []any{
		slog.String("event", "decision"), slog.String("id", d.ID), slog.String("kind", string(d.Kind)), slog.String("network", network), slog.String("until", until),
		slog.String("by", eventlog.Printable(d.By, eventlog.NameMax)), slog.String("comment", eventlog.Printable(d.Comment, eventlog.ErrorMax)),
	}
}

// release forgets denials at time t.
func (o *deciding) release(t time.Time, r decisions.Release) (done decisions.Released, err error) {
	network, account, err := r.Target()
	if err != nil {
		return done, err
	}
	done = decisions.Released{Ended: []decisions.Decision{}, Blocked: []decisions.Decision{}}
	if account != "" {
		done.Buckets = o.releaseAccount(t, account)
	} else {
		done.Buckets = o.releaseNetwork(t, network)
		if err := o.endOn(t, network, r.By, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// releaseAccount releases an account, also from where it was tried lately.
func (o *deciding) releaseAccount(t time.Time, account string) int {
	n := o.policy.limiter.Release(t, limiter.Attempt{Account: account})
	for _, pair := range o.recent.Pairs(recent.Query{Account: account}, pairsMax) {
		n += o.policy.limiter.Release(t, limiter.Attempt{Addr: pair.Source.Addr(), Account: account})
	}
	return n
}

// releaseNetwork releases a network and all sources of it that were refused lately, with the
// accounts that they tried.
func (o *deciding) releaseNetwork(t time.Time, network netip.Prefix) int {
	n := o.policy.limiter.Release(t, limiter.Attempt{Addr: network.Addr()})
	o.listed.Release(t, network)
	released := map[netip.Prefix]bool{limiter.Source(network.Addr()): true}
	for _, pair := range o.recent.Pairs(recent.Query{Network: network}, pairsMax) {
		if !released[pair.Source] {
			released[pair.Source] = true
			n += o.policy.limiter.Release(t, limiter.Attempt{Addr: pair.Source.Addr()})
		}
		if pair.Account != "" {
			n += o.policy.limiter.Release(t, limiter.Attempt{Addr: pair.Source.Addr(), Account: pair.Account})
		}
	}
	return n
}

// pairsMax is how many pairs of sources and accounts one request releases at most.
const pairsMax = 100_000

// endOn ends the decisions on exactly this network, and lists the blocks that remain.
func (o *deciding) endOn(t time.Time, network netip.Prefix, by string, done *decisions.Released) error {
	for _, kind := range []decisions.Kind{decisions.Block, decisions.Allow} {
		for _, d := range o.store.On(t, kind, network) {
			switch {
			case d.Network == network:
				ended, err := o.end(t, d.ID, by)
				if err != nil {
					return err
				}
				done.Ended = append(done.Ended, ended)
			case kind == decisions.Block:
				done.Blocked = append(done.Blocked, d)
			}
		}
	}
	return nil
}

// forget forgets what is known of an account at time t.
func (o *deciding) forget(t time.Time, f decisions.Forget) (done decisions.Forgotten, err error) {
	if err := f.Check(); err != nil {
		return done, err
	}
	done.Known = o.policy.limiter.ForgetAccount(t, f.Account)
	return done, nil
}

// run ends decisions that are over, and applies those of other gateways, until ctx ends.
func (o *deciding) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
			o.applyReceived(time.Now())
		case <-tick.C:
			o.expire(time.Now())
		}
	}
}
