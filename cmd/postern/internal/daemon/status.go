package daemon

import (
	"time"

	"postern/cmd/postern/internal/monitor"
)

// unready says why new clients should go elsewhere, or "". An attack is no
// reason.
func (d *Daemon) unready() string {
	switch d.phase.Load() {
	case starting:
		return "starting"
	case draining:
		return "shutting down"
	}
	if protocol := d.backends.down(); protocol != "" {
		return "no " + protocol + " backend is up"
	}
	return ""
}

// monitorState is the state of the gateway at time t, for monitoring systems.
func (d *Daemon) monitorState(t time.Time) monitor.State {
	s, server := d.incidents.State(), d.server.Stats()
	m := monitor.State{
		Unready: d.unready(), Verdict: string(s.Class), Since: s.Since, Learned: s.Learned, Excess: s.Excess,
		Known: monitor.Known{
			Good: s.Users.Good, Slow: s.Users.Slow, Limited: s.Users.Limited, Failed: s.Users.Fault, Greeted: s.Users.Greeted.Quantile(.95),
		},
		Logins:      monitor.Logins(d.incidents.RecentLogins(t, monitor.Window)),
		Generations: d.generations.list(),
		Connections: server.Open, MaxConnections: server.MaxConnections, Failures: d.incidents.Failures(t), Sharing: d.sharingStatus(t),
	}
	if i, found := d.incidents.Current(); found {
		m.Incident = &monitor.Incident{ID: i.ID, Class: string(i.Class), Stage: string(i.Phase), Since: i.Since.In(t.Location()), Acknowledged: i.AckedBy != ""}
	}
	m.Backends.Up, m.Backends.All = d.backends.count()
	return m
}
