package incidents

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"postern/limiter/watch"
)

// Stats counts what a Manager has done since its start.
type Stats struct {
	Sent      map[string]Deliveries // alerts, by channel
	Published Deliveries            // writes of the status page
	Written   time.Time             // last successful write of the status page; zero if there was none
	Incidents map[watch.Class]uint64
}

// Deliveries counts deliveries by result.
type Deliveries struct{ OK, Failed uint64 }

// Channels are the kinds of receivers, the keys of Stats.Sent.
var Channels = []string{channelAlertmanager, channelWebhook}

// Stats returns the counts so far.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Sent, s.Incidents = map[string]Deliveries{}, map[watch.Class]uint64{}
	for _, channel := range Channels {
		s.Sent[channel] = m.stats.Sent[channel]
	}
	maps.Copy(s.Incidents, m.stats.Incidents)
	return s
}

// countDelivery counts one delivery of an alert.
func (m *Manager) countDelivery(channel string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stats.Sent == nil {
		m.stats.Sent = map[string]Deliveries{}
	}
	d := m.stats.Sent[channel]
	d.count(err)
	m.stats.Sent[channel] = d
}

// countIncident counts one incident of a class.
func (m *Manager) countIncident(class watch.Class) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stats.Incidents == nil {
		m.stats.Incidents = map[watch.Class]uint64{}
	}
	m.stats.Incidents[class]++
}

// count counts one delivery that ended with err.
func (d *Deliveries) count(err error) {
	if err == nil {
		d.OK++
	} else {
		d.Failed++
	}
}

// failure is an operation that fails since a time.
type failure struct {
	since time.Time
	err   error // the latest
}

// failureGrace is how long an operation may fail before Failures includes it.
const failureGrace = 2 * time.Minute

// Failures lists the operations that have been failing for some minutes at time
// t, with their errors: alerts and the status page, and writing to the state
// directory.
func (m *Manager) Failures(t time.Time) (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for what, f := range m.failures {
		if t.Sub(f.since) >= failureGrace {
			all = append(all, what+": "+f.err.Error())
		}
	}
	slices.Sort(all)
	return all
}

// setResult stores whether an operation works, and logs a change.
func (m *Manager) setResult(t time.Time, what string, err error) {
	m.mu.Lock()
	f, failing := m.failures[what]
	switch {
	case err == nil:
		delete(m.failures, what)
	case !failing:
		m.failures[what] = failure{t, err}
	default:
		m.failures[what] = failure{f.since, err}
	}
	m.mu.Unlock()
	switch {
	case err != nil && !failing:
		m.config.Log.Warn(what+" failed", slog.String("event", "watch"), slog.String("error", err.Error()))
	case err == nil && failing:
		m.config.Log.Info(what+" works again", slog.String("event", "watch"))
	}
}

// clearFailure removes the failure of a receiver to which nothing is to be sent
// any more.
func (m *Manager) clearFailure(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.failures, what)
}
