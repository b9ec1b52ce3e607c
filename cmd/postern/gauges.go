package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/limiter"
	"postern/proxy"
	"postern/tlsconf"
)

// gauges reads, when it is asked, what the rooms count themselves.
type gauges struct {
	server   *proxy.Server
	limiter  *limiter.Limiter
	backends map[string]*proxy.Backends
	certs    *tlsconf.Source // nil where no door offers TLS
	quota    *quota
}

// desc describes one family that gauges gives out.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("postern_"+name, help, labels, nil)
}

var (
	descActive       = desc("connections_active", "Connections open now, by where they are.", "state")
	descMax          = desc("connections_max", "Most connections that may be open, with so many logged in.")
	descAcceptErrors = desc("accept_errors_total", "Connections that could not be accepted.", "reason")

	descBackendUp       = desc("backend_up", "Whether the backend answered when it was last asked.", "backend")
	descBackendChanges  = desc("backend_state_changes_total", "Times the backend went down or came up.", "backend")
	descBackendDials    = desc("backend_dials_total", "Connections tried to the backend, probes included.", "backend", "result")
	descBackendDialTime = desc("backend_dial_seconds", "Time from dial to greeting, probes included; sum and count only.", "backend")
	descBackendActive   = desc("backend_connections_active", "Connections open to the backend.", "backend")
	descBackendLogins   = desc("backend_logins_active", "Logins in flight at the backend.", "backend")

	descTable        = desc("table_entries", "Buckets in use.", "table")
	descCapacity     = desc("table_capacity", "Most buckets that may be in use, and as many accounts may be known.")
	descShared       = desc("table_shared_total", "Attempts charged to their network because no bucket was free for their source.")
	descGlobal       = desc("global_tokens", "Logins the backends may be given at once.")
	descReserved     = desc("global_reserved_tokens", "Of these, the ones that strangers must leave; none on the first day.")
	descKnown        = desc("known_accounts", "Accounts that have been accepted and are remembered.")
	descKnownLearned = desc("known_learned", "Whether the known have been learned for a day, so that the reserve counts.")
	descQueue        = desc("queue_length", "Attempts that wait for their turn, or for a login slot at a backend.", "queue", "client")

	descNotAfter   = desc("certificate_not_after_timestamp_seconds", "When the first of the certificates expires.")
	descLogDropped = desc("log_dropped_total", "Log lines left out because too many came in one second.")
)

// Describe sends nothing: what Collect sends depends on which backends and
// certificates there are.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	g.collectServer(send)
	g.collectBackends(ch, send)
	g.collectLimiter(send)
	send(descLogDropped, prometheus.CounterValue, float64(g.quota.refused()))
	if g.certs != nil {
		send(descNotAfter, prometheus.GaugeValue, float64(g.certs.NotAfter().Unix()))
	}
}

// sender gives out one value of a family.
type sender func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string)

// collectServer sends how many connections are where. Those in the tarpit have
// not logged in either, but are counted once.
func (g *gauges) collectServer(send sender) {
	s := g.server.Stats()
	send(descActive, prometheus.GaugeValue, float64(max(s.Open-s.Relay-s.Tarpit, 0)), "prelogin")
	send(descActive, prometheus.GaugeValue, float64(s.Tarpit), "tarpit")
	send(descActive, prometheus.GaugeValue, float64(s.Relay), "relay")
	send(descMax, prometheus.GaugeValue, float64(s.MaxConnections))
	send(descAcceptErrors, prometheus.CounterValue, float64(s.AcceptNoFile), "emfile")
	send(descAcceptErrors, prometheus.CounterValue, float64(s.AcceptOther), "other")
}

// collectBackends sends the state of every backend. Its address tells it apart:
// no port speaks both protocols.
func (g *gauges) collectBackends(ch chan<- prometheus.Metric, send sender) {
	for _, group := range g.backends {
		for _, b := range group.Stats() {
			up := 0.0
			if b.Up {
				up = 1
			}
			send(descBackendUp, prometheus.GaugeValue, up, b.Addr)
			send(descBackendChanges, prometheus.CounterValue, float64(b.Changes), b.Addr)
			send(descBackendActive, prometheus.GaugeValue, float64(b.Sessions), b.Addr)
			send(descBackendLogins, prometheus.GaugeValue, float64(b.Logins), b.Addr)
			for result, n := range b.Dials {
				send(descBackendDials, prometheus.CounterValue, float64(n), b.Addr, proxy.DialResult(result).String())
			}
			ch <- prometheus.MustNewConstSummary(descBackendDialTime, b.Dials[proxy.DialOK], b.DialTime.Seconds(), nil, b.Addr)
		}
	}
}

// collectLimiter sends how full the limiter is.
func (g *gauges) collectLimiter(send sender) {
	s := g.limiter.Stats(time.Now())
	for table, n := range map[string]int{
		"source": s.Sources, "network": s.Networks, "pair": s.Pairs, "account": s.Accounts, "repeat": s.Repeats,
	} {
		send(descTable, prometheus.GaugeValue, float64(n), table)
	}
	learned := 0.0
	if s.Learned {
		learned = 1
	}
	send(descCapacity, prometheus.GaugeValue, float64(s.Capacity))
	send(descShared, prometheus.CounterValue, float64(s.Shared))
	send(descGlobal, prometheus.GaugeValue, s.GlobalTokens)
	send(descReserved, prometheus.GaugeValue, float64(s.ReservedTokens))
	send(descKnown, prometheus.GaugeValue, float64(s.Known))
	send(descKnownLearned, prometheus.GaugeValue, learned)
	send(descQueue, prometheus.GaugeValue, float64(s.WaitKnown), "turn", "known")
	send(descQueue, prometheus.GaugeValue, float64(s.WaitStrangers), "turn", "stranger")
	var known, strangers int
	for _, group := range g.backends {
		k, s := group.Waiting()
		known, strangers = known+k, strangers+s
	}
	send(descQueue, prometheus.GaugeValue, float64(known), "slot", "known")
	send(descQueue, prometheus.GaugeValue, float64(strangers), "slot", "stranger")
}
