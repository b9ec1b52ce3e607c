package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/postern/internal/monitor"
)

// shareGauges reads how the gateway shares with others. All series exist without sharing too. None has the name of a gateway:
// names come from other gateways, so they are no fixed set, and each gateway is scraped and has its instance already. The
// status of a gateway lists the others.
type shareGauges struct{ read func() *monitor.Sharing }

var (
	descShareMode     = desc("share_mode", "How the gateway counts: 1 for the present mode, 0 for the others. Alone: the engine cannot be used.", "mode")
	descShareMembers  = desc("share_members", "Gateways that count together, this one included.")
	descShareLeading  = desc("share_leading", "Whether this gateway alerts people and writes the status page.")
	descShareReceipt  = desc("share_last_receipt_timestamp_seconds", "When a batch of this gateway was last read back from the engine, 0 if none was.")
	descShareGlobal   = desc("share_global_ratio", "Part of LIMIT_GLOBAL that this gateway may use.")
	descShareBatches  = desc("share_batches_total", "Batches sent to the engine, and received from other gateways.", "direction")
	descShareRecords  = desc("share_records_total", "Records in these batches.", "direction")
	descShareLost     = desc("share_lost_records_total", "Records that were not sent, because too many waited while the engine could not be used.")
	descShareRejected = desc("share_rejected_batches_total", "Batches, records and snapshots in the engine that this gateway cannot use.")
	descShareErrors   = desc("share_errors_total", "Commands of the engine that have failed.", "reason")
	descShareWarning  = desc("share_warning", "Whether something is wrong with the site, such as two gateways with the same name. `postern status` says what.")
)

// Describe sends all of them.
func (g shareGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descShareMode, descShareMembers, descShareLeading, descShareReceipt, descShareGlobal, descShareBatches, descShareRecords, descShareLost, descShareRejected,
		descShareErrors, descShareWarning,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g shareGauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	s := g.sharing()
	for _, mode := range monitor.SharingModes() {
		send(descShareMode, prometheus.GaugeValue, oneIf(s.Mode == mode), string(mode))
	}
	leads := s.Mode == monitor.SharingOff
	for _, m := range s.Members {
		leads = leads || m.Own && m.Leads
	}
	var receipt time.Time
	if s.ReceiptAge > 0 {
		receipt = time.Now().Add(-time.Duration(s.ReceiptAge * float64(time.Second)))
	}
	send(descShareMembers, prometheus.GaugeValue, float64(max(len(s.Members), 1)))
	send(descShareLeading, prometheus.GaugeValue, oneIf(leads))
	send(descShareReceipt, prometheus.GaugeValue, seconds(receipt))
	send(descShareGlobal, prometheus.GaugeValue, s.GlobalPart)
	send(descShareBatches, prometheus.CounterValue, float64(s.Sent.Batches), "sent")
	send(descShareBatches, prometheus.CounterValue, float64(s.Received.Batches), "received")
	send(descShareRecords, prometheus.CounterValue, float64(s.Sent.Records), "sent")
	send(descShareRecords, prometheus.CounterValue, float64(s.Received.Records), "received")
	send(descShareLost, prometheus.CounterValue, float64(s.Lost.Records))
	send(descShareRejected, prometheus.CounterValue, float64(s.Rejected.Batches))
	for _, reason := range monitor.SharingErrors() {
		send(descShareErrors, prometheus.CounterValue, float64(s.Errors[reason]), reason)
	}
	send(descShareWarning, prometheus.GaugeValue, oneIf(s.Warning != ""))
}

// sharing returns what the gateway shares. One that does not share uses all of LIMIT_GLOBAL.
func (g shareGauges) sharing() *monitor.Sharing {
	if g.read != nil {
		if s := g.read(); s != nil {
			return s
		}
	}
	return &monitor.Sharing{Mode: monitor.SharingOff, GlobalPart: 1}
}
