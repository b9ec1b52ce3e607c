package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/notify"
)

// noticeGauges reads what became of notices about logins. All series exist even if no notices are sent.
type noticeGauges struct{ read func() notices.Stats }

var (
	descNotices        = desc("notices_total", "Notices about logins that were found, by kind.", "kind")
	descNoticesDropped = desc("notices_dropped_total", "Notices about logins that were lost, because too many waited or they waited for a day.")
	descNoticesQueued  = desc("notices_queued", "Notices about logins that are not delivered yet.")
	descNoticeRequests = desc("notice_deliveries_total", "Requests with notices about logins.", "result")
)

// Describe sends all of them.
func (noticeGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descNotices, descNoticesDropped, descNoticesQueued, descNoticeRequests} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g noticeGauges) Collect(ch chan<- prometheus.Metric) {
	var s notices.Stats
	if g.read != nil {
		s = g.read()
	}
	send := func(d *prometheus.Desc, t prometheus.ValueType, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, float64(n), labels...)
	}
	for _, kind := range notify.NoticeKinds() {
		send(descNotices, prometheus.CounterValue, s.Made[kind], string(kind))
	}
	send(descNoticesDropped, prometheus.CounterValue, s.Dropped)
	send(descNoticesQueued, prometheus.GaugeValue, s.Queued)
	send(descNoticeRequests, prometheus.CounterValue, s.Delivered, "ok")
	send(descNoticeRequests, prometheus.CounterValue, s.Failed, "failed")
}
