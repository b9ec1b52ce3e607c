package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
)

// shared returns what the metrics of a gateway that shares as read says have, by their names.
func shared(t *testing.T, read func() *monitor.Sharing) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(shareGauges{read})
	return gather(t, r)
}

// value returns the value of the only series of f with the label value, or without a label if that is empty.
func value(f *dto.MetricFamily, label, value string) float64 {
	for _, m := range f.GetMetric() {
		if label == "" || testbed.HasLabel(m, label, value) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

func TestShareMetrics(t *testing.T) {
	errors := map[string]uint64{}
	for i, reason := range monitor.SharingErrors() {
		errors[reason] = uint64(i)
	}
	s := &monitor.Sharing{
		Gateway: "a", Mode: monitor.Alone, Leader: "b", Members: []monitor.Member{{Name: "a", Own: true}, {Name: "b", Leads: true}}, ReceiptAge: 7, GlobalPart: .5,
		Sent: monitor.Transfer{Batches: 3, Records: 30}, Received: monitor.Transfer{Batches: 4, Records: 40}, Lost: monitor.Transfer{Records: 5},
		Rejected: monitor.Transfer{Batches: 6}, Errors: errors, Warning: "two gateways have the name a",
	}
	got := shared(t, func() *monitor.Sharing { return s })
	for name, want := range map[string]float64{
		"members": 2, "leading": 0, "global_ratio": .5, "lost_records_total": 5, "rejected_batches_total": 6, "warning": 1,
	} {
		if v := value(got["postern_share_"+name], "", ""); v != want {
			t.Errorf("%s: got %v, want %v", name, v, want)
		}
	}
	for _, c := range []struct {
		name, label, value string
		want               float64
	}{
		{"mode", "mode", "alone", 1}, {"mode", "mode", "off", 0}, {"mode", "mode", "shared", 0}, {"mode", "mode", "joining", 0},
		{"batches_total", "direction", "sent", 3}, {"batches_total", "direction", "received", 4},
		{"records_total", "direction", "sent", 30}, {"records_total", "direction", "received", 40},
		{"errors_total", "reason", "timeout", 1}, {"errors_total", "reason", "other", 6},
	} {
		if v := value(got["postern_share_"+c.name], c.label, c.value); v != c.want {
			t.Errorf("%s, %s %s: got %v, want %v", c.name, c.label, c.value, v, c.want)
		}
	}
	s.Members[0].Leads, s.Members[1].Leads = true, false
	if v := value(shared(t, func() *monitor.Sharing { return s })["postern_share_leading"], "", ""); v != 1 {
		t.Errorf("the leader does not lead: got %v", v)
	}
}

// TestMetricsWithoutSharing: all series exist, so that rates work from the first event on.
func TestMetricsWithoutSharing(t *testing.T) {
	all := shared(t, func() *monitor.Sharing { return &monitor.Sharing{Mode: monitor.Shared} })
	for _, read := range []func() *monitor.Sharing{nil, func() *monitor.Sharing { return nil }} {
		got := shared(t, read)
		if series(got) != series(all) {
			t.Errorf("got %d series, want %d", series(got), series(all))
		}
		for name, want := range map[string]float64{"members": 1, "leading": 1, "global_ratio": 1, "last_receipt_timestamp_seconds": 0, "warning": 0} {
			if v := value(got["postern_share_"+name], "", ""); v != want {
				t.Errorf("%s: got %v, want %v", name, v, want)
			}
		}
		if v := value(got["postern_share_mode"], "mode", "off"); v != 1 {
			t.Errorf("mode off: got %v", v)
		}
	}
}
