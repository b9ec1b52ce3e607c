package main

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/limiter"
	"postern/proxy"
)

// metrics counts what happened. Every label takes its values from a fixed set,
// so that no client can make a series: an address or an account is never a
// label. All series exist from the start at zero.
type metrics struct {
	registry *prometheus.Registry

	// The first three count every connection once.
	connections  *prometheus.CounterVec
	ends         *prometheus.CounterVec
	decisions    *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	headerErrors *prometheus.CounterVec
	handshakes   *prometheus.CounterVec

	// These count attempts.
	logins    *prometheus.CounterVec
	hindered  *prometheus.CounterVec
	abandoned *prometheus.CounterVec

	tarpit   *prometheus.HistogramVec // of attempts
	login    *prometheus.HistogramVec // of attempts
	session  *prometheus.HistogramVec // of connections
	greeting *prometheus.HistogramVec // of connections

	users userMetrics

	reloadGood prometheus.Gauge
	reloadTime prometheus.Gauge
	certsGood  prometheus.Gauge
	enforcing  prometheus.Gauge
	stateGood  prometheus.Gauge
	stateTime  prometheus.Gauge
}

// newMetrics returns metrics in a registry of their own.
func newMetrics(b build) *metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &metrics{registry: r}
	f := promauto.With(r)
	m.makeCounters(f)
	m.makeHistograms(f)
	m.users = makeUserMetrics(f)
	m.reloadGood = f.NewGauge(opts("config_last_reload_successful", "Whether the settings last read are in force."))
	m.reloadTime = f.NewGauge(opts("config_last_reload_success_timestamp_seconds", "When settings were last put in force."))
	m.certsGood = f.NewGauge(opts("certificate_last_reload_successful", "Whether the certificate files as they were last read are in force."))
	m.certsGood.Set(1)
	m.enforcing = f.NewGauge(opts("enforcing", "Whether verdicts are acted upon, and not only observed."))
	m.stateGood = f.NewGauge(opts("state_last_save_successful", "Whether the state was written down when that was last tried."))
	m.stateGood.Set(1)
	m.stateTime = f.NewGauge(opts("state_last_save_success_timestamp_seconds", "When the state was last written down, 0 if it never was."))
	info := opts("build_info", "Always 1; the labels say what is running.")
	info.ConstLabels = prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": runtime.Version()}
	f.NewGauge(info).Set(1)
	m.startAtZero()
	return m
}

// opts names a metric of postern's own.
func opts(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Name: "postern_" + name, Help: help}
}

// makeCounters makes what attempt and record count up. The help texts are also
// README's.
func (m *metrics) makeCounters(f promauto.Factory) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{"listener"}, labels...))
	}
	m.connections = counter("connections_total", "Connections that have ended.")
	m.ends = counter("connection_ends_total", "Connections that have ended, by why they did.", "end")
	m.decisions = counter("decisions_total", "Connections that have ended, by the strictest verdict each met.", "action", "rule")
	m.abandoned = counter("tarpit_abandoned_total", "Attempts whose client left while it waited.")
	m.bytes = counter("bytes_total", "Bytes relayed after login: in from clients, out to them.", "direction")
	m.headerErrors = counter("proxy_header_errors_total", "Connections closed for a missing, bad or forbidden PROXY header.")
	m.handshakes = counter("handshakes_total", "TLS handshakes with clients.", "version", "result")
	m.logins = counter("logins_total", "Attempts that have been settled; repeats and refused ones never reached a backend.", "result", "client")
	m.hindered = counter("known_hindered_total", "Attempts of the known that a rule made wait or refused. By global, tarpit or backend, it should not happen.", "action", "rule")
}

// makeHistograms makes what attempt and record measure. The bounds lie around
// what is promised: a greeting within 2.5 s, a wait of 10 s at most, an answer
// before mail programs give up.
func (m *metrics) makeHistograms(f promauto.Factory) {
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return f.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_" + name, Help: help, Buckets: buckets}, []string{"listener"})
	}
	m.tarpit = histogram("tarpit_seconds", "How long attempts that had to wait did wait.", .5, 1, 2, 4, 8, 10, 15)
	m.session = histogram("session_seconds", "How long connections lasted.", .1, 1, 10, 60, 300, 1800, 3600, 4*3600, 24*3600)
	m.greeting = histogram("greeting_seconds", "Time from accept to the first octet of the greeting.", .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	m.login = histogram("login_seconds", "Time an attempt took that a backend answered, time in the tarpit included.", .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30)
}

// hindrances are the decisions that a client notices, but for a repeat, which it
// has earned.
var hindrances = []string{"tarpit", "reject", "shed"}

// The values of handshakes_total's labels, beside "none" for the version of a
// failed handshake.
var (
	tlsVersions      = []string{"TLS 1.2", "TLS 1.3"}
	handshakeResults = []string{"full", "resumed"}
)

// startAtZero makes every combination of label values exist, so that rates work
// from the first event on.
func (m *metrics) startAtZero() {
	for _, door := range doorNames {
		for _, vec := range []*prometheus.CounterVec{m.connections, m.abandoned, m.headerErrors} {
			vec.WithLabelValues(door)
		}
		for _, vec := range []*prometheus.HistogramVec{m.tarpit, m.session, m.greeting, m.login} {
			vec.WithLabelValues(door)
		}
		each(m.decisions, door, decisionActions, ruleNames())
		each(m.handshakes, door, tlsVersions, handshakeResults)
		m.handshakes.WithLabelValues(door, "none", "failed")
		each(m.ends, door, endNames())
		each(m.bytes, door, []string{"in", "out"})
		each(m.logins, door, loginResults, clients)
		each(m.hindered, door, hindrances, ruleNames())
	}
}

// each touches the series of door for every combination of one value out of
// each set.
func each(vec *prometheus.CounterVec, door string, sets ...[]string) {
	combinations := [][]string{{door}}
	for _, set := range sets {
		var longer [][]string
		for _, c := range combinations {
			for _, value := range set {
				longer = append(longer, append(slices.Clone(c), value))
			}
		}
		combinations = longer
	}
	for _, c := range combinations {
		vec.WithLabelValues(c...)
	}
}

// ruleNames are the values of the label rule.
func ruleNames() (names []string) {
	for _, r := range limiter.Rules() {
		names = append(names, string(r))
	}
	return names
}

// endNames are the values of the label end.
func endNames() (names []string) {
	for _, e := range proxy.Ends() {
		names = append(names, e.String())
	}
	return names
}

// reloaded notes whether what was read at time t is in force.
func (m *metrics) reloaded(t time.Time, err error) {
	if err != nil {
		m.reloadGood.Set(0)
		return
	}
	m.reloadGood.Set(1)
	m.reloadTime.Set(float64(t.Unix()))
}

// certsLoaded notes whether the certificates last read are in force.
func (m *metrics) certsLoaded(err error) {
	m.certsGood.Set(0)
	if err == nil {
		m.certsGood.Set(1)
	}
}

// observing notes whether verdicts are only observed.
func (m *metrics) observing(on bool) {
	m.enforcing.Set(1)
	if on {
		m.enforcing.Set(0)
	}
}

// saved notes whether the state was written down at time t.
func (m *metrics) saved(t time.Time, err error) {
	if err != nil {
		m.stateGood.Set(0)
		return
	}
	m.stateGood.Set(1)
	m.stateTime.Set(float64(t.Unix()))
}

// attempt counts one settled attempt.
func (m *metrics) attempt(a proxy.Attempt) {
	m.logins.WithLabelValues(a.Listener, loginResult(a), clientOf(a.Verdict)).Inc()
	if action := decisionAction(a.Verdict); a.Verdict.Known && slices.Contains(hindrances, action) {
		m.hindered.WithLabelValues(a.Listener, action, string(a.Verdict.Rule)).Inc()
	}
	if a.Gone {
		m.abandoned.WithLabelValues(a.Listener).Inc()
	}
	if a.Waited > 0 {
		m.tarpit.WithLabelValues(a.Listener).Observe(a.Waited.Seconds())
	}
	if a.Outcome != limiter.Void {
		m.login.WithLabelValues(a.Listener).Observe(a.Took.Seconds())
	}
}

// record counts one connection that has ended.
func (m *metrics) record(r proxy.Record) {
	m.connections.WithLabelValues(r.Listener).Inc()
	m.ends.WithLabelValues(r.Listener, r.End.String()).Inc()
	m.decisions.WithLabelValues(r.Listener, decisionAction(r.Verdict), string(r.Verdict.Rule)).Inc()
	m.session.WithLabelValues(r.Listener).Observe(r.Duration.Seconds())
	m.bytes.WithLabelValues(r.Listener, "in").Add(float64(r.FromClient))
	m.bytes.WithLabelValues(r.Listener, "out").Add(float64(r.ToClient))
	if r.Greeting > 0 {
		m.greeting.WithLabelValues(r.Listener).Observe(r.Greeting.Seconds())
	}
	if r.End == proxy.EndProxyHeader {
		m.headerErrors.WithLabelValues(r.Listener).Inc()
	}
	m.handshake(r)
}

// handshake counts how r's handshake went, if it got to one.
func (m *metrics) handshake(r proxy.Record) {
	switch r.Handshake {
	case proxy.HandshakeFailed:
		m.handshakes.WithLabelValues(r.Listener, "none", "failed").Inc()
	case proxy.HandshakeDone:
		result := "full"
		if r.Resumed {
			result = "resumed"
		}
		m.handshakes.WithLabelValues(r.Listener, r.TLS, result).Inc()
	}
}
