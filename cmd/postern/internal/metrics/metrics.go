// Package metrics counts what postern did and serves it to Prometheus.
//
// Every label takes its values from a fixed set, so that no client can create a
// series: an address or an account is never a label. All series exist from the
// start, at zero. Counters are incremented from the records of package proxy;
// gauges read their sources when they are scraped.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postern/cmd/postern/internal/authpolicy"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// Metrics holds all metrics of one gateway. Its methods may be called from
// several goroutines.
type Metrics struct {
	registry *prometheus.Registry

	// Of connections; each of the first three counts every connection once.
	connections  *prometheus.CounterVec
	ends         *prometheus.CounterVec
	decisions    *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	headerErrors *prometheus.CounterVec
	handshakes   *prometheus.CounterVec
	forwarded    *prometheus.CounterVec

	// Of attempts.
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

	upgradesFailed prometheus.Counter
	policyRequests *prometheus.CounterVec
}

// New returns metrics of a program of this version and revision, in a registry
// of their own.
func New(version, revision string) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &Metrics{registry: r}
	f := promauto.With(r)
	m.makeCounters(f)
	m.makeHistograms(f)
	m.users = newUserMetrics(f)
	m.reloadGood = f.NewGauge(opts("config_last_reload_successful", "Whether the settings were valid when they were last read."))
	m.reloadTime = f.NewGauge(opts("config_last_reload_success_timestamp_seconds", "When valid settings were last read."))
	m.certsGood = f.NewGauge(opts("certificate_last_reload_successful", "Whether the certificate files were valid when they were last read."))
	m.certsGood.Set(1)
	m.enforcing = f.NewGauge(opts("enforcing", "Whether verdicts are enforced, and not only observed."))
	m.stateGood = f.NewGauge(opts("state_last_save_successful", "Whether the state could be saved when that was last tried."))
	m.stateGood.Set(1)
	m.stateTime = f.NewGauge(opts("state_last_save_success_timestamp_seconds", "When the state was last saved, 0 if it never was."))
	m.upgradesFailed = f.NewCounter(prometheus.CounterOpts(opts("upgrades_failed_total", "Upgrades after which this process went on.")))
	m.policyRequests = f.NewCounterVec(prometheus.CounterOpts(opts("policy_requests_total", "Requests to POLICY_LISTEN.")), []string{"command", "result"})
	info := opts("build_info", "Always 1; the labels say what is running.")
	info.ConstLabels = prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()}
	f.NewGauge(info).Set(1)
	m.startAtZero()
	return m
}

// Handler serves all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// opts names a metric of postern.
func opts(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Name: "postern_" + name, Help: help}
}

// makeCounters makes the counters that Attempt and Record increment. The
// reference has the help texts too.
func (m *Metrics) makeCounters(f promauto.Factory) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{"listener"}, labels...))
	}
	m.connections = counter("connections_total", "Connections that have ended.")
	m.ends = counter("connection_ends_total", "Connections that have ended, by cause.", "end")
	m.decisions = counter("decisions_total", "Connections that have ended, by the strictest verdict each met.", "action", "rule")
	m.abandoned = counter("tarpit_abandoned_total", "Attempts whose client disconnected while it was delayed.")
	m.bytes = counter("bytes_total", "Bytes relayed after login: in from clients, out to them.", "direction")
	m.headerErrors = counter("proxy_header_errors_total", "Connections closed for a missing, bad or forbidden PROXY header.")
	m.handshakes = counter("handshakes_total", "TLS handshakes with clients.", "version", "result")
	m.forwarded = counter("forwarded_total", "Client addresses sent by x-originating-ip or XCLIENT, in connections that have ended; ignored from all but POSTERN_FORWARDED_FROM.", "result")
	m.logins = counter("logins_total", "Attempts that have been settled; repeats and refused ones never reached a backend.", "result", "client")
	m.hindered = counter("known_hindered_total", "Attempts of known users that a rule delayed or refused. By global, tarpit or backend, it should not happen.", "action", "rule")
}

// makeHistograms makes the histograms that Attempt and Record observe. Their
// buckets separate what is promised from the rest: a greeting within 2.5 s, a
// delay of at most 10 s, an answer before mail programs give up.
func (m *Metrics) makeHistograms(f promauto.Factory) {
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return f.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_" + name, Help: help, Buckets: buckets}, []string{"listener"})
	}
	m.tarpit = histogram("tarpit_seconds", "Delay of attempts that were delayed.", .5, 1, 2, 4, 8, 10, 15)
	m.session = histogram("session_seconds", "Duration of connections.", .1, 1, 10, 60, 300, 1800, 3600, 4*3600, 24*3600)
	m.greeting = histogram("greeting_seconds", "Time from accept to the first octet of the greeting.", .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	m.login = histogram("login_seconds", "Duration of attempts that a backend answered, time in the tarpit included.", .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30)
}

// startAtZero makes every combination of label values exist, so that rates work
// from the first event on.
func (m *Metrics) startAtZero() {
	for _, listener := range attemptListeners() {
		m.abandoned.WithLabelValues(listener)
		m.tarpit.WithLabelValues(listener)
		m.login.WithLabelValues(listener)
		each(m.logins, listener, results, clients)
		each(m.hindered, listener, hindrances, attemptRules())
	}
	for _, listener := range listeners {
		for _, vec := range []*prometheus.CounterVec{m.connections, m.headerErrors} {
			vec.WithLabelValues(listener)
		}
		for _, vec := range []*prometheus.HistogramVec{m.session, m.greeting} {
			vec.WithLabelValues(listener)
		}
		each(m.decisions, listener, actions, rules())
		each(m.handshakes, listener, tlsVersions, handshakeResults)
		m.handshakes.WithLabelValues(listener, "none", "failed")
		each(m.ends, listener, ends())
		each(m.forwarded, listener, forwardedResults)
		each(m.bytes, listener, []string{"in", "out"})
	}
	for _, command := range authpolicy.Commands() {
		for _, result := range authpolicy.Results() {
			m.policyRequests.WithLabelValues(command, result)
		}
	}
}

// each touches the series of listener for every combination of one value out of
// each set.
func each(vec *prometheus.CounterVec, listener string, sets ...[]string) {
	combinations := [][]string{{listener}}
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

// Reloaded records whether the settings read at time t were valid.
func (m *Metrics) Reloaded(t time.Time, err error) {
	if err != nil {
		m.reloadGood.Set(0)
		return
	}
	m.reloadGood.Set(1)
	m.reloadTime.Set(float64(t.Unix()))
}

// Upgraded records the result of an upgrade.
func (m *Metrics) Upgraded(err error) {
	if err != nil {
		m.upgradesFailed.Inc()
	}
}

// PolicyRequest counts a request to POLICY_LISTEN.
func (m *Metrics) PolicyRequest(command, result string) {
	m.policyRequests.WithLabelValues(command, result).Inc()
}

// CertificatesLoaded records whether the certificate files last read were valid.
func (m *Metrics) CertificatesLoaded(err error) {
	m.certsGood.Set(0)
	if err == nil {
		m.certsGood.Set(1)
	}
}

// Observing records whether verdicts are only observed.
func (m *Metrics) Observing(on bool) {
	m.enforcing.Set(1)
	if on {
		m.enforcing.Set(0)
	}
}

// Saved records whether the state could be saved at time t.
func (m *Metrics) Saved(t time.Time, err error) {
	if err != nil {
		m.stateGood.Set(0)
		return
	}
	m.stateGood.Set(1)
	m.stateTime.Set(float64(t.Unix()))
}

// Attempt counts one settled attempt.
func (m *Metrics) Attempt(a proxy.Attempt) {
	m.logins.WithLabelValues(a.Listener, eventlog.Result(a), eventlog.Client(a.Verdict)).Inc()
	if action := eventlog.Action(a.Verdict); a.ByUser() && slices.Contains(hindrances, action) {
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

// Record counts one connection that has ended.
func (m *Metrics) Record(r proxy.Record) {
	m.connections.WithLabelValues(r.Listener).Inc()
	m.ends.WithLabelValues(r.Listener, r.End.String()).Inc()
	m.decisions.WithLabelValues(r.Listener, eventlog.Action(r.Verdict), string(r.Verdict.Rule)).Inc()
	m.session.WithLabelValues(r.Listener).Observe(r.Duration.Seconds())
	m.bytes.WithLabelValues(r.Listener, "in").Add(float64(r.FromClient))
	m.bytes.WithLabelValues(r.Listener, "out").Add(float64(r.ToClient))
	if r.Greeting > 0 {
		m.greeting.WithLabelValues(r.Listener).Observe(r.Greeting.Seconds())
	}
	if r.End == proxy.EndProxyHeader {
		m.headerErrors.WithLabelValues(r.Listener).Inc()
	}
	for i, n := range []int{r.Forwarded.Taken, r.Forwarded.Ignored, r.Forwarded.Invalid} {
		m.forwarded.WithLabelValues(r.Listener, forwardedResults[i]).Add(float64(n))
	}
	m.handshake(r)
}

// handshake counts r's TLS handshake, if there was one.
func (m *Metrics) handshake(r proxy.Record) {
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

// The values of labels. Those of action, result and client are what the
// functions of package eventlog return.
var (
	listeners = proxy.ListenerNames()
	actions   = []string{"pass", "tarpit", "repeat", "reject", "shed"}
	results   = []string{"accepted", "denied", "repeat", "refused", "abandoned", "void"}
	clients   = []string{"known", "stranger"}

	// hindrances are the actions that a known user notices. A repeat is not one
	// of them: its password was wrong.
	hindrances = []string{"tarpit", "reject", "shed"}

	forwardedResults = []string{"taken", "ignored", "invalid"}

	// Of handshakes; a failed one has the version "none".
	tlsVersions      = []string{"TLS 1.2", "TLS 1.3"}
	handshakeResults = []string{"full", "resumed"}
)

// attemptListeners are the values of the label listener in metrics of attempts.
func attemptListeners() []string { return append(slices.Clone(listeners), authpolicy.Listener) }

// attemptRules are the values of the label rule in metrics of attempts: those about connections concern none.
func attemptRules() []string {
	ofConnections := []limiter.Rule{limiter.RuleConnect, limiter.RuleOpen, limiter.RuleOpenPrelogin, limiter.RuleMaxConnections, limiter.RuleHandshakes}
	return names(slices.DeleteFunc(limiter.Rules(), func(r limiter.Rule) bool { return slices.Contains(ofConnections, r) }))
}

// rules are the values of the label rule.
func rules() []string { return names(limiter.Rules()) }

// names returns values as label values.
func names[S ~string](values []S) (names []string) {
	for _, v := range values {
		names = append(names, string(v))
	}
	return names
}

// ends are the values of the label end.
func ends() (names []string) {
	for _, e := range proxy.Ends() {
		names = append(names, e.String())
	}
	return names
}
