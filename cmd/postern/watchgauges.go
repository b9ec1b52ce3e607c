package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// watchGauges reads, when it is asked, what the watch sees and what was done
// about it.
type watchGauges struct {
	*incidents.Manager
	tight func() bool
}

var (
	descObserved = desc("detector_observed", "What the watch counts, a minute.", "signal")
	descExpected = desc("detector_expected", "What is usual at this time of the week, a minute.", "signal")
	descScore    = desc("detector_score", "How sure it is that more networks than usual are behind denials; above 8 is significant.")
	descExcess   = desc("detector_excess_ratio", "Denied strangers above the expected, as a share of a busy hour's logins: 0.045 is a notice, 0.1 an attack.")
	descClass    = desc("detector_state", "What the watch takes the present for: 1 for one state, 0 for the others.", "state")
	descLearned  = desc("detector_learned_ratio", "How much of a week the watch knows.")

	descDrift = desc("detector_drift_ratio", "Denied strangers that are usual in a week, now over four weeks ago: above 1 somebody may be training the watch. 0 while that is not known.")
	descTight = desc("detector_tightened", "Whether strangers are held more tightly than the settings say, as from a notice on.")

	descOpen      = desc("incident_open", "Whether there is an incident that people are told of.")
	descPhase     = desc("incident_state", "How far the open incident has come: 1 for one state, 0 for the others.", "state")
	descStarted   = desc("incident_started_timestamp_seconds", "When the open incident began, 0 if there is none.")
	descIncidents = desc("incidents_total", "Incidents that people were told of, by what they were taken for at first.", "class")

	descSent      = desc("notifications_total", "Deliveries to receivers of alerts.", "channel", "result")
	descPublished = desc("status_publish_total", "Times that the status page was written.", "result")
	descWritten   = desc("status_last_success_timestamp_seconds", "When the status page was last good, 0 without one.")
)

// Describe sends all of them.
func (watchGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descObserved, descExpected, descScore, descExcess, descClass, descLearned, descDrift, descTight, descOpen, descPhase, descStarted, descIncidents,
		descSent, descPublished, descWritten,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (w watchGauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	w.collectDetector(send)
	w.collectIncident(send)
	w.collectTold(send)
}

// collectDetector sends what the watch sees.
func (w watchGauges) collectDetector(send sender) {
	s := w.State()
	for _, side := range []struct {
		desc *prometheus.Desc
		watch.Signals
	}{{descObserved, s.Observed}, {descExpected, s.Expected}} {
		send(side.desc, prometheus.GaugeValue, side.Logins, "logins")
		send(side.desc, prometheus.GaugeValue, side.Suspects, "suspects")
		send(side.desc, prometheus.GaugeValue, side.Networks, "networks")
	}
	send(descScore, prometheus.GaugeValue, s.Score)
	send(descExcess, prometheus.GaugeValue, s.Excess)
	send(descLearned, prometheus.GaugeValue, s.Learned)
	send(descDrift, prometheus.GaugeValue, s.Drift)
	send(descTight, prometheus.GaugeValue, oneIf(w.tight()))
	for _, c := range watch.Classes() {
		send(descClass, prometheus.GaugeValue, oneIf(s.Class == c), string(c))
	}
}

// collectIncident sends how far the open incident has come.
func (w watchGauges) collectIncident(send sender) {
	i, open := w.Open()
	started := 0.0
	if open {
		started = float64(i.Started.Unix())
	}
	send(descOpen, prometheus.GaugeValue, oneIf(open && i.Phase.Alarming()))
	send(descStarted, prometheus.GaugeValue, started)
	for _, p := range incident.Phases() {
		if p.Open() {
			send(descPhase, prometheus.GaugeValue, oneIf(open && i.Phase == p), string(p))
		}
	}
}

// collectTold sends what was told to whom.
func (w watchGauges) collectTold(send sender) {
	s := w.Stats()
	for _, c := range watch.Classes() {
		send(descIncidents, prometheus.CounterValue, float64(s.Incidents[c]), string(c))
	}
	deliveries := func(d *prometheus.Desc, n incidents.Deliveries, labels ...string) {
		send(d, prometheus.CounterValue, float64(n.OK), append(labels, "ok")...)
		send(d, prometheus.CounterValue, float64(n.Failed), append(labels, "failed")...)
	}
	for _, channel := range incidents.Channels {
		deliveries(descSent, s.Sent[channel], channel)
	}
	deliveries(descPublished, s.Published)
	send(descWritten, prometheus.GaugeValue, seconds(s.Written))
}

// oneIf is how Prometheus writes truth.
func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus writes it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
