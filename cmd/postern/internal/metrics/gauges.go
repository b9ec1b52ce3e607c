package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/notices"
	"postern/limiter"
	"postern/proxy"
	"postern/tlsconf"
)

// Sources are the parts of a gateway that gauges read at each scrape.
type Sources struct {
	Server    *proxy.Server
	Limiter   *limiter.Limiter
	Backends  map[string]*proxy.Backends
	Certs     *tlsconf.Source // nil where no listener offers TLS
	Dropped   func() uint64   // log lines
	Incidents *incidents.Manager
	Tightened func() bool // whether limits for strangers are

	Generations func() []monitor.Generation   // processes of the gateway, this one first
	Decisions   func() map[decisions.Kind]int // of operators, in force, of every kind
	Notices     func() notices.Stats          // about logins; nil if none are sent
	Firewall    func() firewall.Stats         // of the list for firewalls
	Sharing     func() *monitor.Sharing       // with other gateways; nil, or returns nil, if there is none
}

// Register adds the gauges that read s. It is called once.
func (m *Metrics) Register(s Sources) {
	m.registry.MustRegister(&gauges{s}, incidentGauges{s.Incidents, s.Tightened}, noticeGauges{s.Notices}, shareGauges{s.Sharing})
}

// gauges reads server, limiter, backends, certificates and log.
type gauges struct{ Sources }

// desc describes one family of metrics.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("postern_"+name, help, labels, nil)
}

var (
	descActive       = desc("connections_active", "Open connections, by state.", "state")
	descMax          = desc("connections_max", "Most connections that may be open, given how many are logged in.")
	descAcceptErrors = desc("accept_errors_total", "Connections that could not be accepted.", "reason")

	descBackendUp       = desc("backend_up", "Whether the backend answered the last probe.", "backend")
	descBackendChanges  = desc("backend_state_changes_total", "Times the backend went down or came up.", "backend")
	descBackendDials    = desc("backend_dials_total", "Connections tried to the backend, probes included.", "backend", "result")
	descBackendDialTime = desc("backend_dial_seconds", "Time from dial to greeting, probes included; sum and count only.", "backend")
	descBackendActive   = desc("backend_connections_active", "Connections open to the backend.", "backend")
	descBackendLogins   = desc("backend_logins_active", "Logins in flight at the backend.", "backend")

	descTable        = desc("table_entries", "Buckets in use.", "table")
	descCapacity     = desc("table_capacity", "Most buckets that may be in use, and most accounts that may be known.")
	descShared       = desc("table_shared_total", "Attempts charged to their network because no bucket was free for their source.")
	descGlobal       = desc("global_tokens", "Logins that may reach the backends at once.")
	descReserved     = desc("global_reserved_tokens", "Of these, the ones reserved for known users; 0 on the first day.")
	descKnown        = desc("known_accounts", "Accounts with a known user.")
	descKnownLearned = desc("known_learned", "Whether known users have been learned for a day, so that the reserve is enforced.")
	descQueue        = desc("queue_length", "Attempts that wait for a token of LIMIT_GLOBAL (turn) or for a login slot at a backend (slot).", "queue", "client")

	descGenerations = desc("generations", "Processes of the gateway: this one, and those of before an upgrade whose sessions go on.")
	descFormer      = desc("former_sessions_active", "Sessions in processes of before an upgrade.")

	descDecisions = desc("operator_decisions", "Decisions of operators that are in force, by kind: block, allow, observe, enforce.", "kind")

	descListed   = desc("firewall_listed", "Sources that are listed for firewalls.")
	descWithheld = desc("firewall_withheld", "Sources that would be listed for firewalls but for the reason.", "reason")

	descNotAfter   = desc("certificate_not_after_timestamp_seconds", "When the first of the certificates expires.")
	descLogDropped = desc("log_dropped_total", "Log lines left out because there were too many, about one source or in all.")
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
	g.collectGenerations(send)
	for kind, n := range g.Decisions() {
		send(descDecisions, prometheus.GaugeValue, float64(n), string(kind))
	}
	listed := g.Firewall()
	send(descListed, prometheus.GaugeValue, float64(listed.Listed))
	for reason, n := range listed.Withheld {
		send(descWithheld, prometheus.GaugeValue, float64(n), string(reason))
	}
	send(descLogDropped, prometheus.CounterValue, float64(g.Dropped()))
	if g.Certs != nil {
		send(descNotAfter, prometheus.GaugeValue, float64(g.Certs.NotAfter().Unix()))
	}
}

// sender sends one value of a family.
type sender func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string)

// collectServer sends how many connections are in which state. An attempt in the
// tarpit is not counted as prelogin too.
func (g *gauges) collectServer(send sender) {
	s := g.Server.Stats()
	send(descActive, prometheus.GaugeValue, float64(max(s.Open-s.Relay-s.Tarpit, 0)), "prelogin")
	send(descActive, prometheus.GaugeValue, float64(s.Tarpit), "tarpit")
	send(descActive, prometheus.GaugeValue, float64(s.Relay), "relay")
	send(descMax, prometheus.GaugeValue, float64(s.MaxConnections))
	send(descAcceptErrors, prometheus.CounterValue, float64(s.AcceptNoFile), "emfile")
	send(descAcceptErrors, prometheus.CounterValue, float64(s.AcceptOther), "other")
}

// collectGenerations sends how many processes there are, and the sessions of the others.
func (g *gauges) collectGenerations(send sender) {
	all, former := g.Generations(), 0
	for _, other := range all[1:] {
		former += other.Sessions
	}
	send(descGenerations, prometheus.GaugeValue, float64(len(all)))
	send(descFormer, prometheus.GaugeValue, float64(former))
}

// collectBackends sends the state of every backend. The address is enough to
// tell it from the others: no port serves both protocols.
func (g *gauges) collectBackends(ch chan<- prometheus.Metric, send sender) {
	for _, group := range g.Backends {
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

// collectLimiter sends how full tables, buckets and queues are.
func (g *gauges) collectLimiter(send sender) {
	s := g.Limiter.Stats(time.Now())
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
	for _, group := range g.Backends {
		k, s := group.Waiting()
		known, strangers = known+k, strangers+s
	}
	send(descQueue, prometheus.GaugeValue, float64(known), "slot", "known")
	send(descQueue, prometheus.GaugeValue, float64(strangers), "slot", "stranger")
}
