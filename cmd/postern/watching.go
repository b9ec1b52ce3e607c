package main

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy"
)

// makeLookout makes what watches over all logins and speaks for it.
func (g *gate) makeLookout() error {
	w := g.config.Watch
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this gate in alerts: %w", err)
	}
	c := incidents.Config{
		Dir: watchDir(g.config), Key: watchKey(g.installed), Location: time.Local, Host: host, Log: g.journal.Logger, Alertmanager: w.Alertmanager.parsed(),
		StatusDir: string(w.StatusDir), Name: string(w.StatusName), URL: string(w.StatusURL), Hold: w.StatusHold, Components: g.parts, Tighten: g.tighten,
	}
	for _, hook := range w.Webhooks {
		c.Webhooks = append(c.Webhooks, link(hook).parsed())
	}
	if g.lookout, err = incidents.New(time.Now(), c); err != nil {
		return wrong("STATE_DIR", "%v", err)
	}
	return nil
}

// watchDir is the watch's own part of the state folder, empty if there is none.
func watchDir(c Config) string {
	if c.State.Dir == "" {
		return ""
	}
	return filepath.Join(string(c.State.Dir), "watch")
}

// watchKey is the watch's own part of the installation's key.
func watchKey(k limiter.Key) (w [16]byte) {
	sum := sha256.Sum256(append([]byte("watch "), k[:]...))
	copy(w[:], sum[:])
	return w
}

// parsed is l as others take it, nil if there is none. It has been checked.
func (l link) parsed() *url.URL {
	if l == "" {
		return nil
	}
	u, err := url.Parse(string(l))
	if err != nil {
		panic(err)
	}
	return u
}

// parts are the parts of the service as the public knows them: one for each
// protocol.
func (g *gate) parts() (all []incidents.Component) {
	for _, p := range []struct{ protocol, name string }{{"imap", "IMAP"}, {"pop3", "POP3"}} {
		if b := g.backends[p.protocol]; b != nil {
			all = append(all, incidents.Component{Name: p.name, Down: !b.Healthy()})
		}
	}
	return all
}

// settled tells everybody of an attempt.
func (g *gate) settled(a proxy.Attempt) {
	g.journal.attempt(a)
	g.metrics.attempt(a)
	if g.isExempt(a.Client.Addr()) {
		g.metrics.users.probe(a)
		return
	}
	seen := g.seen(a)
	g.metrics.users.seen(a.Listener, seen)
	now := time.Now()
	g.lookout.Attempt(now, seen)
	if a.Outcome == limiter.Accepted {
		g.lookout.Opened(now)
	}
}

// done tells everybody of a connection that has ended.
func (g *gate) done(r proxy.Record) {
	g.journal.record(r)
	g.metrics.record(r)
	if r.Account != "" && !g.isExempt(r.Client.Addr()) {
		g.lookout.Closed(time.Now())
	}
}

// isExempt reports whether addr is a webmail's or a monitoring's: what they do
// says nothing about users and nothing about attackers.
func (g *gate) isExempt(addr netip.Addr) bool {
	nets := *g.exempt.Load()
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// seen is an attempt as the watch takes it.
func (g *gate) seen(a proxy.Attempt) watch.Attempt {
	addr := a.Client.Addr()
	return watch.Attempt{
		Source: limiter.Source(addr), Network: limiter.Network(addr), Account: a.Account,
		Known: a.Verdict.Known, Usual: a.Verdict.Near, Outcome: g.outcomeOf(a),
		Rule: ruleOf(a.Verdict), Waited: a.Waited, Greeting: a.Greeting,
	}
}

// ruleOf is the rule that kept an attempt waiting or refused it, empty if none
// did.
func ruleOf(v limiter.Verdict) string {
	if v.Action == limiter.Pass {
		return ""
	}
	return string(v.Rule)
}

// outcomeOf sorts the void ones, which have several causes.
func (g *gate) outcomeOf(a proxy.Attempt) watch.Outcome {
	switch {
	case a.Outcome == limiter.Accepted:
		return watch.Accepted
	case a.Verdict.Action == limiter.Repeat && a.Backend == "":
		return watch.Repeat
	case a.Outcome == limiter.Denied:
		return watch.Denied
	case a.Gone:
		return watch.Gone
	case a.Verdict.Rule == limiter.RuleBackend && !g.backends[a.Protocol].Healthy():
		return watch.Fault
	case a.Verdict.Action == limiter.Refuse && decisionAction(a.Verdict) == "shed":
		return watch.Shed
	case a.Verdict.Action == limiter.Refuse:
		return watch.Rejected
	case a.Err != nil:
		return watch.Fault
	}
	return watch.Gone // in the middle of an exchange
}
