package daemon

import (
	"os"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
	"postern/proxy"
	"postern/proxy/dialogue"
)

// This file makes what operators see: the views of the page and of `postern top`.

const (
	viewAge   = 900 * time.Millisecond // after which a view is made again: one a second, however many look
	detailAge = 2 * time.Second        // likewise its detail, which costs more

	// How many of these a view has at most.
	rowsMax      = 50 // of each table of recent events
	decisionsMax = 100
	incidentsMax = 10
)

// topWindow is the time over which sources, networks and accounts are counted.
const topWindow = 5 * time.Minute

// views makes views when somebody looks. Nothing is done otherwise.
type views struct {
	*Daemon
	version   string
	host      string
	tarpit    int  // TARPIT_TOTAL
	logins    int  // BACKEND_LOGINS
	proxyFrom bool // PROXY_FROM is set

	mu     sync.Mutex
	last   view.View // without detail, but with the name of the operator in Mode
	detail *view.Detail
	at     time.Time // of detail
}

// newViews returns the views of d, which has the settings c.
func newViews(d *Daemon, c *config.Config, version string) *views {
	host, _ := os.Hostname() // without it, none is shown
	return &views{Daemon: d, version: version, host: host, tarpit: c.Tarpit.Total, logins: c.Backend.Logins, proxyFrom: len(c.Listeners.ProxyFrom) > 0}
}

// view returns the view of the time t, or one made shortly before. It must not be changed.
func (v *views) view(t time.Time, detailed bool) *view.View {
	v.mu.Lock()
	defer v.mu.Unlock()
	if isOld(t, v.last.Time, viewAge) {
		v.last = v.make(t)
	}
	w := v.last
	if !detailed {
		w.Mode.By = ""
		return &w
	}
	if isOld(t, v.at, detailAge) {
		v.detail, v.at = v.makeDetail(t), t
	}
	w.Detail = v.detail
	return &w
}

// isOld reports whether what was made at a time, or never if that is zero, is to be made again at time t: after an age, or
// if the clock went back.
func isOld(t, made time.Time, age time.Duration) bool { return t.Before(made) || t.Sub(made) >= age }

// make makes a view without detail.
func (v *views) make(t time.Time) view.View {
	state, server, tables := v.monitorState(t), v.server.Stats(), v.policy.limiter.Stats(t)
	level, text := state.Evaluate(monitor.DefaultThresholds)
	w := view.View{
		Time: t, Host: v.host, Version: v.version, Level: level.String(), Text: text, State: state,
		Mode: v.mode(t), Tight: v.policy.tightened(), Series: v.recent.Series(t, t.Add(-view.SeriesTime).Unix()),
		Tarpit: view.Place{Now: server.Tarpit, Max: v.tarpit},
		Tables: view.Tables{
			Buckets: tables.Sources + tables.Networks + tables.Pairs + tables.Accounts + tables.Repeats, Max: tables.Capacity, Known: tables.Known,
		},
		Lanes: view.Lanes{
			Size: v.policy.global(), Left: tables.GlobalTokens, Reserved: tables.ReservedTokens, KnownWait: tables.WaitKnown, StrangersWait: tables.WaitStrangers,
		},
	}
	for _, p := range dialogue.Protocols() {
		if group := v.backends[p.Name()]; group != nil {
			v.addBackends(&w, p.Name(), group)
		}
	}
	for _, l := range v.listeners {
		w.Listeners = append(w.Listeners, view.Listener{
			Name: l.kind.Name, Addr: l.listener.Addr().String(), Open: server.OpenAt[l.kind.Name], Rate: v.rates.inLastMinute(t, l.kind.Name), Proxy: v.proxyFrom,
		})
	}
	return w
}

// addBackends adds the backends of a protocol to w.
func (v *views) addBackends(w *view.View, protocol string, group *proxy.Backends) {
	known, strangers := group.Waiting()
	w.Lanes.KnownSlots += known
	w.Lanes.StrangerSlots += strangers
	for _, s := range group.Stats() {
		b := view.Backend{Protocol: protocol, Addr: s.Addr, Up: s.Up, Logins: view.Place{Now: s.Logins, Max: v.logins}, Sessions: int(s.Sessions)}
		if s.ProbeError != nil {
			b.Error = eventlog.Printable(s.ProbeError.Error(), eventlog.ErrorMax)
		}
		w.Backends = append(w.Backends, b)
	}
}

// mode says whether verdicts are enforced at time t, and who has decided that.
func (v *views) mode(t time.Time) view.Mode {
	d, _ := v.deciding.store.Mode(t) // zero if nobody has
	return view.Mode{Observe: v.deciding.observing(t), Setting: v.policy.observes(), Until: d.Until, By: d.By}
}

// makeDetail makes the detail of a view.
func (v *views) makeDetail(t time.Time) *view.Detail {
	d := &view.Detail{Top: v.recent.Top(t, topWindow, rowsMax), Refusals: v.recent.Search(recent.Query{}, rowsMax)}
	d.Decisions = v.deciding.store.List(t)
	d.Decided = len(d.Decisions)
	d.Listed = v.firewall.list.Stats().Listed
	d.Decisions = d.Decisions[:min(decisionsMax, d.Decided)]
	d.Incidents = v.incidents.All()
	d.Incidents = d.Incidents[:min(incidentsMax, len(d.Incidents))]
	return d
}

// explain answers a question about a session, an address, a network or an account at time t.
func (d *Daemon) explain(t time.Time, about string) (explain.Explanation, error) {
	return explain.Explain(t, about, explain.Sources{
		Recent: d.recent, Inspect: d.policy.limiter.Inspect, Listed: d.firewall.list.Find, Users: d.policy.limiter.Users,
		Decisions: func() []decisions.Decision { return d.deciding.store.List(t) }, Observing: func() bool { return d.deciding.observing(t) },
	})
}

// rates counts the attempts of each listener in the last minute. Its zero value is ready.
type rates struct {
	mu      sync.Mutex
	seconds [60]struct {
		at int64 // seconds since 1970
		n  map[string]int
	}
}

// add counts an attempt at a listener at time t.
func (r *rates) add(t time.Time, listener string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.seconds[t.Unix()%60]
	if s.at != t.Unix() {
		s.at, s.n = t.Unix(), map[string]int{}
	}
	s.n[listener]++
}

// inLastMinute returns how many attempts were made at a listener in the minute before t.
func (r *rates) inLastMinute(t time.Time, listener string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.seconds {
		if s := &r.seconds[i]; t.Unix()-s.at < 60 && s.at <= t.Unix() {
			n += s.n[listener]
		}
	}
	return n
}
