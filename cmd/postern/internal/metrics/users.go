package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter/watch"
	"postern/proxy"
)

// userMetrics measures what is promised to known users. Strangers and monitoring
// probes do not count.
type userMetrics struct {
	known    *prometheus.CounterVec
	greeting *prometheus.HistogramVec
	probes   *prometheus.CounterVec
	latest   prometheus.Gauge
}

// newUserMetrics returns them, all at zero.
func newUserMetrics(f promauto.Factory) userMetrics {
	u := userMetrics{
		known: f.NewCounterVec(prometheus.CounterOpts(opts("known_logins_total",
			"Logins of known users: good if accepted and greeted in 2.5 s, else slow, limited by postern, fault of a backend, or denied for a wrong password.")), []string{"listener", "result"}),
		greeting: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_known_greeting_seconds", Help: "Time from accept to the first octet of the greeting, of connections on which a known user logs in.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"listener"}),
		probes: f.NewCounterVec(prometheus.CounterOpts(opts("exempt_logins_total",
			"Logins from EXEMPT networks, which neither the other metrics of users nor the detector count.")), []string{"listener", "result"}),
		latest: f.NewGauge(opts("outcome_last_timestamp_seconds", "When a backend last accepted or denied a login.")),
	}
	for _, listener := range listeners {
		u.greeting.WithLabelValues(listener)
	}
	for _, listener := range attemptListeners() {
		each(u.known, listener, names(watch.UserResults()))
		each(u.probes, listener, results)
	}
	return u
}

// User counts one attempt at a listener, if a known user made it.
func (m *Metrics) User(listener string, a watch.Attempt) {
	u := m.users
	if a.Outcome == watch.Accepted || a.Outcome == watch.Denied {
		u.latest.SetToCurrentTime()
	}
	result := a.UserResult()
	if result == "" {
		return
	}
	u.known.WithLabelValues(listener, string(result)).Inc()
	if a.Greeting > 0 {
		u.greeting.WithLabelValues(listener).Observe(a.Greeting.Seconds())
	}
}

// Exempt counts one attempt from an EXEMPT network.
func (m *Metrics) Exempt(a proxy.Attempt) {
	m.users.probes.WithLabelValues(a.Listener, eventlog.Result(a)).Inc()
}
