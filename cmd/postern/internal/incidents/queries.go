package incidents

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// State returns the detector's state at its last tick.
func (m *Manager) State() watch.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Open returns the open incident, if there is one.
func (m *Manager) Open() (incident.Incident, bool) { return m.incidents.Open() }

// Current returns the open incident, or else one that an operator closed while its
// trouble was on, if that is not over.
func (m *Manager) Current() (incident.Incident, bool) {
	if i, open := m.incidents.Open(); open {
		return i, true
	}
	for _, i := range m.incidents.All() {
		if i.StillOn() {
			return i, true
		}
	}
	return incident.Incident{}, false
}

// All returns all incidents in memory, the latest first.
func (m *Manager) All() []incident.Incident { return m.incidents.All() }

// Find returns the incident with this ID, or the latest one if id is empty.
func (m *Manager) Find(id string) (incident.Incident, bool) { return m.incidents.Find(id) }

// LoginCounts counts login attempts within a period, by result.
type LoginCounts struct {
	Accepted, Denied, Refused, Void int
	Expected                        float64 // attempts that are usual in such a period
}

// RecentLogins counts the attempts of the full minutes within d before t.
func (m *Manager) RecentLogins(t time.Time, d time.Duration) (c LoginCounts) {
	end := t.Truncate(time.Minute)
	for _, minute := range m.history.Minutes(end.Add(-d), end) {
		for _, n := range []watch.Outcomes{minute.Known, minute.Stranger} {
			c.Accepted += n.Accepted
			c.Denied += n.Denied + n.Repeat
			c.Refused += n.Refused()
			c.Void += n.Gone + n.Fault
		}
		c.Expected += minute.Expected.Logins
	}
	return c
}

// Report creates the report on an incident at time t, on the latest one if id is
// empty. lookup may be nil; see [report.Subject].
func (m *Manager) Report(t time.Time, id string, form report.Form, lookup func(netip.Addr) (uint32, string)) (*report.Report, error) {
	i, found := m.incidents.Find(id)
	switch {
	case !found && id == "":
		return nil, errors.New("report: there has been no incident")
	case !found:
		return nil, fmt.Errorf("report: there is no incident %q", id)
	}
	from, to := report.Span(t, &i)
	minutes, hours := m.history.Minutes(from, to), m.history.Hours(from, to)
	if !to.Before(t) {
		minute, hour := m.watch.Partial(t)
		minutes, hours = append(minutes, minute), append(hours, hour)
	}
	return report.New(t, report.Subject{
		Incident: i, Minutes: minutes, Hours: hours, Location: m.config.Location, Lookup: lookup, Service: m.config.Name,
	}, form), nil
}

// Snapshot returns what the detector has learned at time t, for Merge at another gateway.
func (m *Manager) Snapshot(t time.Time) []byte { return m.watch.Snapshot(t) }
