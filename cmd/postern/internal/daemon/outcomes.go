package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/metrics"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy"
)

// openWatchers makes what attempts and connections are reported to.
func (d *Daemon) openWatchers(t *takeover) (err error) {
	if d.incidents, err = d.openIncidents(t.incidents); err != nil {
		return err
	}
	if d.notices, err = openNotices(&d.config, d.keeper.key, d.log); err != nil {
		return err
	}
	d.keeper.incidents, d.keeper.notices, d.keeper.observations = d.incidents, d.notices, newObservations()
	d.recent = recent.New(time.Now())
	if t.recent != nil {
		if err := d.recent.Import(t.recent); err != nil {
			return fmt.Errorf("take over what happened lately: %w", err)
		}
	}
	return nil
}

// openIncidents makes what detects incidents and alerts people about them.
// components are those of the status page; tighten is called with whether limits
// for strangers are to be tightened. former is the export of the process that hands over,
// nil without one.
func (d *Daemon) openIncidents(former []byte) (*incidents.Manager, error) {
	c := &d.config
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this gateway in alerts: %w", err)
	}
	i := c.Incidents
	m := incidents.Config{
		Dir: incidentsDir(c), Key: DetectorKey(d.keeper.key), Location: time.Local, Host: host, Log: d.log.Logger,
		Alertmanager: i.Alertmanager.URL(), Webhooks: i.Hooks(),
		StatusDir: string(i.StatusDir), Name: string(i.StatusName), URL: string(i.StatusURL), Hold: i.StatusHold,
		Components: d.backends.components, Tighten: d.policy.tighten, Former: former,
	}
	if c.Share.URL != "" {
		m.Host, m.Share = string(c.Share.Gateway), d.shareIncident
	}
	l, err := incidents.New(time.Now(), m)
	if err != nil && former == nil {
		err = config.Errorf("STATE_DIR", "%w", err)
	}
	return l, err
}

// incidentsDir is the directory within STATE_DIR for incidents and the detector,
// empty if there is none.
func incidentsDir(c *config.Config) string {
	if c.State.Dir == "" {
		return ""
	}
	return filepath.Join(string(c.State.Dir), "watch")
}

// outcomes reports what became of attempts and connections to the log, the
// metrics and the detector.
type outcomes struct {
	log       *eventlog.Log
	metrics   *metrics.Metrics
	policy    *policy
	backends  backends
	incidents *incidents.Manager
	notices   *notices.Manager // nil without NOTICE_URL
	recent    *recent.Memory
	firewall  *firewall.List
	rates     *rates
}

// attempt reports an attempt that was settled.
func (o *outcomes) attempt(a proxy.Attempt) {
	now := time.Now()
	o.log.Attempt(a)
	o.metrics.Attempt(a)
	o.recent.Attempt(now, a, o.log.Why(a))
	o.rates.add(now, a.Listener)
	countAttempt(now, o.firewall, &a)
	if a.Verdict.Rule == limiter.RuleBlocked && !a.Observed {
		return // what an operator has refused says nothing about an attack, nor about how users are served
	}
	if o.policy.isExempt(a.Client.Addr()) {
		o.metrics.Exempt(a)
		return
	}
	o.notice(now, a)
	seen := o.forDetector(a)
	o.metrics.User(a.Listener, seen)
	o.incidents.Attempt(now, seen)
	if a.Outcome == limiter.Accepted {
		o.incidents.Opened(now)
	}
}

// record reports a connection that has ended.
func (o *outcomes) record(r proxy.Record) {
	now := time.Now()
	o.log.Record(r)
	o.metrics.Record(r)
	o.recent.Record(now, r, o.log.WhyRecord(r))
	countRecord(now, o.firewall, &r)
	switch addr := r.Client.Addr(); {
	case o.policy.isExempt(addr):
	case r.Account != "":
		o.incidents.Closed(now)
	case o.heldPlace(now, r):
		o.incidents.Held(now, limiter.Source(addr), limiter.Network(addr))
	}
}

// heldPlace reports whether a connection only held a place, as those of attackers may. Connections from where users have
// logged in do not count: their programs get no further while something between them and the gateway loses packets.
func (o *outcomes) heldPlace(now time.Time, r proxy.Record) bool {
	return r.Attempts == 0 && (r.End == proxy.EndTimeout || r.End == proxy.EndEvicted) && !o.policy.limiter.KnownSource(now, r.Client.Addr())
}

// forDetector is an attempt as the detector takes it.
func (o *outcomes) forDetector(a proxy.Attempt) watch.Attempt {
	addr := a.Client.Addr()
	return watch.Attempt{
		Source: limiter.Source(addr), Network: limiter.Network(addr), Account: a.Account,
		Known: a.ByUser(), Usual: a.Verdict.Near, Outcome: o.outcomeOf(a),
		Credential: a.Traits.Credential, Worked: a.Traits.Worked, Former: a.Traits.Former, Compared: a.Traits.Compared,
		JA4: a.JA4, Rule: ruleOf(a.Verdict), Waited: a.Waited, Greeting: a.Greeting,
	}
}

// ruleOf is the rule that delayed an attempt or refused it, empty if none did.
func ruleOf(v limiter.Verdict) string {
	if v.Action == limiter.Pass {
		return ""
	}
	return string(v.Rule)
}

// outcomeOf distinguishes the causes of what the limiter calls void.
func (o *outcomes) outcomeOf(a proxy.Attempt) watch.Outcome {
	switch {
	case a.Outcome == limiter.Accepted:
		return watch.Accepted
	case a.Verdict.Action == limiter.Repeat && a.Backend == "" && a.Verdict.Rule == limiter.RuleRepeat:
		return watch.Repeat
	case a.Verdict.Action == limiter.Repeat && a.Backend == "":
		return watch.Rejected // answered as denied because of the denials of others
	case a.Outcome == limiter.Denied, a.Abandoned && !a.Verdict.Known:
		return watch.Denied
	case a.Gone:
		return watch.Gone
	case a.Verdict.Rule == limiter.RuleBackend && !o.backends[a.Protocol].Healthy():
		return watch.Fault
	case a.Verdict.Action == limiter.Refuse && eventlog.Action(a.Verdict) == "shed":
		return watch.Shed
	case a.Verdict.Action == limiter.Refuse:
		return watch.Rejected
	case a.Err != nil:
		return watch.Fault
	}
	return watch.Gone // during an exchange
}
