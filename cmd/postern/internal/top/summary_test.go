package top

import (
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/view"
)

// TestGatewaysInSummary: the others are shown only if there are any.
func TestGatewaysInSummary(t *testing.T) {
	f := newFake(t)
	f.change(func(v *view.View) {
		v.State.Sharing = &monitor.Sharing{Mode: monitor.Shared, ReceiptAge: .4, GlobalPart: .5, Members: []monitor.Member{
			{Name: "gw1", Version: "v1.4", Own: true, Leads: true}, {Name: "gw2", Version: "v1.3", Mode: monitor.Alone, SeenAgo: 42},
		}}
	})
	want := []string{"shared, 50 % of LIMIT_GLOBAL, receipt 0s ago", "gw1 v1.4 (this one), alerts people", "gw2 v1.3 alone, seen 42s ago"}
	if got := gatewayTexts(f.view.State.Sharing); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if out := once(t, f, "COLUMNS=160", "LINES=50"); !strings.Contains(out, "Gateways  "+strings.Join(want, "; ")+"\n") {
		t.Errorf("got\n%s", out)
	}
	f.change(func(*view.View) {})
	if out := once(t, f, "COLUMNS=160", "LINES=50"); strings.Contains(out, "Gateways") {
		t.Errorf("without sharing: got\n%s", out)
	}
}
