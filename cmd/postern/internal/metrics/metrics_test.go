package metrics

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/proxy/standin"
	"postern/tlsconf"
)

// seriesBudget is the most series that a gateway may have.
const seriesBudget = 1500

// testMetrics returns the metrics of a gateway with four backends and a
// certificate: all there are.
func testMetrics(t *testing.T) *Metrics {
	t.Helper()
	lim, err := limiter.New(limiter.Policy{TableMax: 1000, Global: limiter.Rate{Tokens: 200, Per: time.Second}}, limiter.Key{})
	if err != nil {
		t.Fatal(err)
	}
	backends := map[string]*proxy.Backends{
		"imap": proxy.NewBackends(dialogue.IMAP{}, proxy.BackendConfig{Addrs: []string{"a:1", "b:1"}, Logins: 1}),
		"pop3": proxy.NewBackends(dialogue.POP3{}, proxy.BackendConfig{Addrs: []string{"a:2", "b:2"}, Logins: 1}),
	}
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := cert.Write(t.TempDir(), "a")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := tlsconf.Load(tlsconf.Config{Certs: []string{certFile}, Keys: []string{keyFile}})
	if err != nil {
		t.Fatal(err)
	}
	m := New("v1.2.3", "abc")
	out, err := incidents.New(time.Now(), incidents.Config{Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	m.Register(Sources{
		Decisions: func() map[decisions.Kind]int { return map[decisions.Kind]int{decisions.Block: 2} },
		Firewall: func() firewall.Stats {
			return firewall.Stats{Listed: 3, Withheld: map[firewall.Reason]int{firewall.ReasonKnown: 2}}
		},
		Server: &proxy.Server{Limiter: lim, Backends: backends}, Limiter: lim, Backends: backends, Certs: certs,
		Dropped: func() uint64 { return 0 }, Incidents: out, Tightened: func() bool { return false },
		Generations: func() []monitor.Generation { return []monitor.Generation{{Sessions: 7}, {Sessions: 2}, {Sessions: 3}} },
	})
	return m
}

// gather returns the metrics by their names.
func gather(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// series counts what a scrape stores: every bucket, sum and count of a
// histogram is one.
func series(families map[string]*dto.MetricFamily) (n int) {
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				n += len(m.GetHistogram().GetBucket()) + 3
			case dto.MetricType_SUMMARY:
				n += len(m.GetSummary().GetQuantile()) + 2
			default:
				n++
			}
		}
	}
	return n
}

// attack reports n connections with one attempt each, every one from another
// source and for another account, with all ends, verdicts and hostile texts.
func attack(m *Metrics, n int) {
	random := rand.New(rand.NewPCG(1, 2))
	rules, ends := limiter.Rules(), proxy.Ends()
	versions := []string{"TLS 1.2", "TLS 1.3"}
	for i := range n {
		var addr [16]byte
		for j := range addr {
			addr[j] = byte(random.Uint32())
		}
		client := netip.AddrPortFrom(netip.AddrFrom16(addr), uint16(i))
		verdict := limiter.Verdict{Action: limiter.Action(i % 4), Rule: rules[random.IntN(len(rules))]}
		garbage := fmt.Sprintf("victim%d\n\xff%q", i, addr)
		listener := listeners[i%len(listeners)]
		a := proxy.Attempt{
			Session: garbage, Listener: listener, Client: client, Account: garbage, Method: garbage, Backend: "a:1", Verdict: verdict,
			Outcome: limiter.Outcome(i % 3), Waited: time.Duration(i) * time.Microsecond, Gone: i%7 == 0, Took: time.Second, Err: errors.New(garbage),
		}
		a.Verdict.Rule = limiter.Rule(attemptRules()[random.IntN(len(attemptRules()))])
		m.Attempt(a)
		m.Record(proxy.Record{
			ID: garbage, Listener: listener, Client: client, Duration: time.Duration(random.Int64N(int64(48 * time.Hour))),
			Handshake: proxy.Handshake(i % 3), TLS: versions[i%2], Cipher: garbage, Resumed: i%5 == 0, Verdict: verdict,
			Attempts: 1, Account: garbage, Greeting: time.Duration(i%2) * time.Second,
			End: ends[i%len(ends)], Err: errors.New(garbage), FromClient: int64(i), ToClient: int64(i),
		})
	}
}

// TestSeriesBudget attacks from 100,000 sources and counts what Prometheus would
// have to store. It also shows that the label values listed here are complete.
func TestSeriesBudget(t *testing.T) {
	m := testMetrics(t)
	before := series(gather(t, m.registry))
	attack(m, 100_000)
	after := series(gather(t, m.registry))
	if after > seriesBudget {
		t.Errorf("%d series, more than %d", after, seriesBudget)
	}
	if after != before {
		t.Errorf("the attack made %d series into %d", before, after)
	}
	t.Logf("%d series", after)
}

// TestDecisionsAddUp: every connection has exactly one decision and one end.
func TestDecisionsAddUp(t *testing.T) {
	m := testMetrics(t)
	attack(m, 10_000)
	families := gather(t, m.registry)
	for _, listener := range listeners {
		connections := testbed.Total(families["postern_connections_total"], "listener", listener)
		if connections == 0 {
			t.Errorf("%s: no connections", listener)
		}
		for _, name := range []string{"postern_decisions_total", "postern_connection_ends_total", "postern_logins_total"} {
			if got := testbed.Total(families[name], "listener", listener); got != connections {
				t.Errorf("%s: %s adds up to %v, want %v", listener, name, got, connections)
			}
		}
	}
}

// TestLabels allows only labels whose values are fixed or come from the settings.
func TestLabels(t *testing.T) {
	m := testMetrics(t)
	attack(m, 1000)
	allowed := []string{"listener", "action", "rule", "end", "direction", "version", "result", "state", "reason", "backend", "table", "client", "queue", "signal", "class", "channel", "kind", "mode", "command", "revision", "goversion"}
	for name, f := range gather(t, m.registry) {
		if !strings.HasPrefix(name, "postern_") {
			continue
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				if !slices.Contains(allowed, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
	}
}

func TestMetricsLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(testMetrics(t).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestRecordMetrics looks at what one record adds.
func TestRecordMetrics(t *testing.T) {
	wait := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource}
	for name, tt := range map[string]struct {
		record proxy.Record
		metric string
		want   []string // the labels, apart from the listener, of the only one that is not zero
	}{
		"passed":           {proxy.Record{Verdict: limiter.Verdict{Rule: limiter.RuleNone}}, "decisions_total", []string{"pass", "none"}},
		"waited":           {proxy.Record{Verdict: wait}, "decisions_total", []string{"tarpit", "source"}},
		"rejected":         {proxy.Record{Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleOpen}}, "decisions_total", []string{"reject", "open"}},
		"shed":             {proxy.Record{Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleMaxConnections}}, "decisions_total", []string{"shed", "max_connections"}},
		"full handshake":   {proxy.Record{Handshake: proxy.HandshakeDone, TLS: "TLS 1.3"}, "handshakes_total", []string{"full", "TLS 1.3"}},
		"resumed":          {proxy.Record{Handshake: proxy.HandshakeDone, TLS: "TLS 1.2", Resumed: true}, "handshakes_total", []string{"resumed", "TLS 1.2"}},
		"failed handshake": {proxy.Record{Handshake: proxy.HandshakeFailed}, "handshakes_total", []string{"failed", "none"}},
		"no handshake":     {proxy.Record{}, "handshakes_total", nil},
		"bad header":       {proxy.Record{End: proxy.EndProxyHeader}, "proxy_header_errors_total", []string{}},
		"good header":      {proxy.Record{End: proxy.EndClient}, "proxy_header_errors_total", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMetrics(t)
			tt.record.Listener = "pop3"
			if tt.record.Verdict.Rule == "" {
				tt.record.Verdict.Rule = limiter.RuleNone
			}
			m.Record(tt.record)
			var got []string
			for _, metric := range gather(t, m.registry)["postern_"+tt.metric].GetMetric() {
				if metric.GetCounter().GetValue() == 0 {
					continue
				}
				got = []string{}
				for _, l := range metric.GetLabel() {
					if l.GetName() != "listener" {
						got = append(got, l.GetValue())
					}
				}
			}
			if !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReloadMetrics(t *testing.T) {
	m := testMetrics(t)
	m.Reloaded(time.Unix(1000, 0), nil)
	m.Reloaded(time.Unix(2000, 0), errors.New("no"))
	m.CertificatesLoaded(errors.New("no"))
	for name, gauge := range map[string]struct {
		gauge prometheus.Gauge
		want  float64
	}{
		"settings refused":     {m.reloadGood, 0},
		"time of the last one": {m.reloadTime, 1000},
		"certificates refused": {m.certsGood, 0},
	} {
		if got := testutil.ToFloat64(gauge.gauge); got != gauge.want {
			t.Errorf("%s: got %v, want %v", name, got, gauge.want)
		}
	}
	m.CertificatesLoaded(nil)
	if got := testutil.ToFloat64(m.certsGood); got != 1 {
		t.Errorf("certificates accepted: got %v", got)
	}
}
