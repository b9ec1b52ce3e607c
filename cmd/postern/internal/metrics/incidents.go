package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// incidentGauges reads what the detector sees and what was done about it.
type incidentGauges struct {
	*incidents.Manager
	tightened func() bool
}

var (
	descObserved = desc("detector_observed", "What the detector counts, per minute.", "signal")
	descExpected = desc("detector_expected", "What is usual at this time of the week, per minute.", "signal")
	descScore    = desc("detector_score", "How sure it is that denied logins come from more networks than usual; above 8 is significant.")
	descExcess   = desc("detector_excess_ratio", "Denied logins of strangers above the expected, as a share of the logins of a busy hour: 0.045 is a notice, 0.1 an attack.")
	descDenied   = desc("detector_denied_ratio", "Share of the accounts whose credential worked before and is denied now, over some minutes: above 0.06 the password database is suspected, from 0.25 on people are alerted.")
	descAbused   = desc("detector_abused_accounts", "Accounts that were logged in to far more often in an hour than is their habit.")
	descClass    = desc("detector_state", "State of the detector: 1 for the present one, 0 for the others.", "state")
	descLearned  = desc("detector_learned_ratio", "Share of a week that the detector has learned.")

	descDrift = desc("detector_drift_ratio", "Denied logins of strangers that are usual in a week, divided by what was usual four weeks ago: above 1, an attacker may be training the detector. 0 while unknown.")
	descTight = desc("detector_tightened", "Whether limits for strangers are tighter than the settings say, as from a notice on.")

	descOpen      = desc("incident_open", "Whether there is an incident that people are alerted about.")
	descPhase     = desc("incident_state", "State of the open incident: 1 for the present one, 0 for the others.", "state")
	descStarted   = desc("incident_started_timestamp_seconds", "When the open incident began, 0 if there is none.")
	descIncidents = desc("incidents_total", "Incidents that people were alerted about, by their first class.", "class")

	descSent      = desc("notifications_total", "Deliveries to receivers of alerts.", "channel", "result")
	descPublished = desc("status_publish_total", "Times that the status page was written.", "result")
	descWritten   = desc("status_last_success_timestamp_seconds", "When the status page was last written, 0 without one.")
)

// Describe sends all of them.
func (incidentGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descObserved, descExpected, descScore, descExcess, descDenied, descAbused, descClass, descLearned, descDrift, descTight, descOpen, descPhase, descStarted, descIncidents,
		descSent, descPublished, descWritten,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g incidentGauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	g.collectDetector(send)
	g.collectIncident(send)
	g.collectDeliveries(send)
}

// collectDetector sends what the detector sees.
func (g incidentGauges) collectDetector(send sender) {
	s := g.State()
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
	send(descDenied, prometheus.GaugeValue, s.DeniedShare)
	send(descAbused, prometheus.GaugeValue, float64(s.Abused))
	send(descLearned, prometheus.GaugeValue, s.Learned)
	send(descDrift, prometheus.GaugeValue, s.Drift)
	send(descTight, prometheus.GaugeValue, oneIf(g.tightened()))
	for _, c := range watch.Classes() {
		send(descClass, prometheus.GaugeValue, oneIf(s.Class == c), string(c))
	}
}

// collectIncident sends the state of the open incident.
func (g incidentGauges) collectIncident(send sender) {
	i, open := g.Open()
	send(descOpen, prometheus.GaugeValue, oneIf(open && i.Phase.Alarming()))
	send(descStarted, prometheus.GaugeValue, seconds(i.Since))
	for _, p := range incident.Phases() {
		if p.Open() {
			send(descPhase, prometheus.GaugeValue, oneIf(open && i.Phase == p), string(p))
		}
	}
}

// collectDeliveries sends what was delivered to people and the public.
func (g incidentGauges) collectDeliveries(send sender) {
	s := g.Stats()
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

// oneIf is a bool as Prometheus has it.
func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
