package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/limiter/watch"
	"postern/proxy"
)

// userMetrics measures what is promised to users, apart from everything that
// strangers do and from probes.
type userMetrics struct {
	known    *prometheus.CounterVec
	greeting *prometheus.HistogramVec
	probes   *prometheus.CounterVec
	latest   prometheus.Gauge
}

// userResults are the values of the label result of the known's logins.
var userResults = []string{"good", "slow", "limited", "fault", "denied"}

// makeUserMetrics makes them, from zero.
func makeUserMetrics(f promauto.Factory) userMetrics {
	u := userMetrics{
		known: f.NewCounterVec(prometheus.CounterOpts(opts("known_logins_total",
			"Logins of known users: good if accepted and greeted in 2.5 s, else slow, limited by postern, fault of a backend, or denied for a wrong password.")), []string{"listener", "result"}),
		greeting: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_known_greeting_seconds", Help: "Time from accept to the first octet of the greeting, of connections on which a known user logs in.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"listener"}),
		probes: f.NewCounterVec(prometheus.CounterOpts(opts("exempt_logins_total",
			"Logins from EXEMPT networks, which no other metric of users and no detector counts.")), []string{"listener", "result"}),
		latest: f.NewGauge(opts("outcome_last_timestamp_seconds", "When a backend last settled a login.")),
	}
	for _, door := range doorNames {
		u.greeting.WithLabelValues(door)
		each(u.known, door, userResults)
		each(u.probes, door, loginResults)
	}
	return u
}

// seen counts one attempt, if it is a known user's.
func (u *userMetrics) seen(door string, a watch.Attempt) {
	if a.Outcome == watch.Accepted || a.Outcome == watch.Denied {
		u.latest.SetToCurrentTime()
	}
	result := userResult(a)
	if !a.Known || result == "" {
		return
	}
	u.known.WithLabelValues(door, result).Inc()
	if a.Greeting > 0 {
		u.greeting.WithLabelValues(door).Observe(a.Greeting.Seconds())
	}
}

// probe counts one attempt of an exempt address.
func (u *userMetrics) probe(a proxy.Attempt) {
	u.probes.WithLabelValues(a.Listener, loginResult(a)).Inc()
}

// promptly is how long a known user may have to wait for the greeting, and in
// the tarpit, for a login that counts as good.
const promptly = 2500 * time.Millisecond

// userResult is one of userResults, or empty for a client that left.
func userResult(a watch.Attempt) string {
	switch a.Outcome {
	case watch.Accepted:
		if max(a.Greeting, a.Waited) > promptly {
			return "slow"
		}
		return "good"
	case watch.Denied, watch.Repeat:
		return "denied"
	case watch.Rejected, watch.Shed:
		return "limited"
	case watch.Fault:
		return "fault"
	}
	return ""
}
