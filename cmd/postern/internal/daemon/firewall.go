package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"postern/cmd/postern/internal/authpolicy"
	"postern/cmd/postern/internal/firewall"
	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy"
)

// This file publishes which sources a firewall should drop. Nothing here changes a firewall.

// firewallFeed has the list for firewalls, and what must never be in it.
type firewallFeed struct {
	daemon    *Daemon
	hosts     map[firewall.Reason][]string // names or addresses, by what they are
	proxies   []netip.Prefix               // load balancers, and webmail that names its clients
	list      *firewall.List
	clients   firewall.Clients
	operators operators

	mu       sync.Mutex
	networks map[firewall.Reason][]netip.Prefix // of backends, engine and gateway; see refresh
}

// newFirewallFeed makes the list of d; former is that of the process that hands over, nil without one.
func newFirewallFeed(d *Daemon, former []byte) (*firewallFeed, error) {
	f := &firewallFeed{daemon: d, hosts: map[firewall.Reason][]string{}, proxies: slices.Concat(d.config.Listeners.ProxyFrom, d.config.Listeners.ForwardedFrom)}
	for _, backend := range d.config.Backend.Addrs() {
		if host, _, err := net.SplitHostPort(backend); err == nil {
			f.hosts[firewall.ReasonBackend] = append(f.hosts[firewall.ReasonBackend], host)
		}
	}
	if engine, err := url.Parse(string(d.config.Share.URL)); err == nil && engine.Hostname() != "" {
		f.hosts[firewall.ReasonEngine] = []string{engine.Hostname()}
	}
	l := d.policy.limiter
	f.list = firewall.New(firewall.Guard{Known: l.KnownSource, Blocked: l.Blocked, Networks: f.protected, Pause: f.pause})
	return f, f.load(former)
}

// run keeps the list up to date until ctx ends, and logs how it changes.
func (f *firewallFeed) run(ctx context.Context) {
	f.refresh(ctx)
	refreshed, logged := time.Now(), f.list.Stats()
	every(ctx, firewall.UpdateEvery, func(now time.Time) {
		if now.Sub(refreshed) >= refreshEvery {
			f.refresh(ctx)
			logged = f.logChanges(logged)
			refreshed = now
		}
		f.list.Update(now)
	})
}

// logChanges logs how many sources were listed and removed since before, and returns the present state.
func (f *firewallFeed) logChanges(before firewall.Stats) firewall.Stats {
	now := f.list.Stats()
	ended := int(now.Ended - before.Ended)
	if added := now.Listed - before.Listed + ended; added > 0 || ended > 0 {
		f.daemon.log.Info("list for firewalls changed", slog.String("event", "firewall"),
			slog.Int("added", added), slog.Int("removed", ended), slog.Int("listed", now.Listed), slog.Bool("observe", now.Observe))
	}
	return now
}

// A feedImage is what the next process takes over.
type feedImage struct {
	List      json.RawMessage
	Operators map[netip.Prefix]time.Time
}

// export returns what the next process takes over.
func (f *firewallFeed) export() ([]byte, error) {
	list, err := f.list.Export()
	if err != nil {
		return nil, err
	}
	f.operators.mu.Lock()
	defer f.operators.mu.Unlock()
	return json.Marshal(feedImage{list, f.operators.latest})
}

// load takes over what export has returned. An older process has none.
func (f *firewallFeed) load(image []byte) error {
	if image == nil {
		return nil
	}
	var i feedImage
	if err := json.Unmarshal(image, &i); err != nil {
		return fmt.Errorf("take over the list for firewalls: %w", err)
	}
	f.operators.latest = i.Operators
	return f.list.Import(time.Now(), i.List)
}

const (
	refreshEvery = time.Minute     // how often names and interfaces are looked at
	resolveTime  = 2 * time.Second // in which names must be resolved
)

// refresh finds out which addresses backends, engine and gateway have now. Addresses of a name
// that cannot be resolved now stay protected.
func (f *firewallFeed) refresh(ctx context.Context) {
	networks := map[firewall.Reason][]netip.Prefix{firewall.ReasonGateway: interfaceAddrs()}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	f.mu.Lock()
	former := f.networks
	f.mu.Unlock()
	for reason, names := range f.hosts {
		for _, name := range names {
			addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			if err != nil {
				networks[reason] = append(networks[reason], former[reason]...)
				continue
			}
			for _, addr := range addrs {
				networks[reason] = append(networks[reason], limiter.Source(addr))
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks = networks
}

// interfaceAddrs are the addresses of this machine.
func interfaceAddrs() (all []netip.Prefix) {
	addrs, _ := net.InterfaceAddrs() // without them, these are not protected
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	return all
}

// protected returns the networks that must never be listed.
func (f *firewallFeed) protected() map[firewall.Reason][]netip.Prefix {
	f.mu.Lock()
	all := maps.Clone(f.networks)
	f.mu.Unlock()
	if all == nil {
		all = map[firewall.Reason][]netip.Prefix{}
	}
	all[firewall.ReasonProxy] = f.proxies
	all[firewall.ReasonExempt] = f.daemon.policy.exempt()
	all[firewall.ReasonOperator] = f.operators.sources(time.Now())
	return all
}

// Known users are hindered if more than hinderedShare per cent of their logins are refused.
// With fewer than hinderedMin logins, nothing can be said.
const (
	hinderedMin   = 20
	hinderedShare = 1
)

// pause returns why nothing new is to be listed at time t. Passwords that the mail servers refuse
// by mistake look like guesses.
func (f *firewallFeed) pause(t time.Time) firewall.Reason {
	if !f.daemon.policy.limiter.Stats(t).Learned {
		return firewall.ReasonLearning
	}
	s := f.daemon.incidents.State()
	users := s.Users.Good + s.Users.Slow + s.Users.Limited
	if s.Class == watch.ClassAuthFault || users >= hinderedMin && 100*s.Users.Limited > hinderedShare*users {
		return firewall.ReasonHindered
	}
	return ""
}

// stream returns what the program with this name is to have a firewall drop.
func (f *firewallFeed) stream(t time.Time, client string, q firewall.Query) firewall.Stream {
	return f.list.Stream(t, f.clients.Since(t, client, q.Startup), q)
}

// countAttempt counts an attempt that a rule refused. An attempt by a known user clears the
// counts of its source: a firewall would drop that user together with those who guess there.
func countAttempt(t time.Time, l *firewall.List, a *proxy.Attempt) {
	addr := a.Client.Addr()
	switch {
	case a.Proxied || a.Forwarder.IsValid():
	case a.Outcome == limiter.Accepted, a.ByUser() && a.Verdict.Rule != limiter.RuleBlocked:
		l.Accepted(t, addr)
	case a.Listener == authpolicy.Listener: // the client's packets do not come here
	case a.Verdict.Action >= limiter.Repeat && (a.Backend == "" || a.Observed):
		l.Refused(t, addr, a.Verdict.Rule, firewall.LoginCost)
	}
}

// countRecord counts a connection that was refused before it could log in. If verdicts are only
// observed, it may have gone on, and its attempts were counted.
func countRecord(t time.Time, l *firewall.List, r *proxy.Record) {
	if !r.Proxied && !r.Forwarder.IsValid() && r.Verdict.Action == limiter.Refuse && (r.Attempts == 0 || r.Verdict.Rule == limiter.RuleConnect) {
		l.Refused(t, r.Client.Addr(), r.Verdict.Rule, firewall.ConnectCost)
	}
}

// Limits on what is remembered of operators.
const (
	operatorsMax  = 64
	operatorsTime = 7 * 24 * time.Hour
)

// operators are the addresses from which operators used the admin API, or had a shell at the
// gateway when they made a decision. The zero value is ready.
type operators struct {
	mu     sync.Mutex
	latest map[netip.Prefix]time.Time // by source
}

// saw remembers that an operator was at addr at time t. If there are too many addresses, the
// one that was seen least recently is removed.
func (o *operators) saw(t time.Time, addr netip.Addr) {
	source := limiter.Source(addr)
	if !source.IsValid() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest == nil {
		o.latest = map[netip.Prefix]time.Time{}
	}
	if _, known := o.latest[source]; !known && len(o.latest) >= operatorsMax {
		oldest := source
		for s, at := range o.latest {
			if oldest == source || at.Before(o.latest[oldest]) {
				oldest = s
			}
		}
		delete(o.latest, oldest)
	}
	o.latest[source] = t
}

// sources returns those that were seen lately.
func (o *operators) sources(t time.Time) (all []netip.Prefix) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for source, at := range o.latest {
		if t.Sub(at) < operatorsTime {
			all = append(all, source)
		}
	}
	return all
}
