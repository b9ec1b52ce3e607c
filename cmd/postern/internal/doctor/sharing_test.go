package doctor

import (
	"slices"
	"testing"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/monitor"
)

// TestSharing: whether the running gateway counts together with others, and with which.
func TestSharing(t *testing.T) {
	members := []monitor.Member{{Name: "gw1", Version: "v2", Own: true}, {Name: "gw2", Version: "v2"}}
	check := func(s *monitor.Sharing) Report {
		e := &examination{running: &monitor.State{Sharing: s}}
		return e.checkSharing(t.Context())
	}
	r := check(&monitor.Sharing{Gateway: "gw1", Mode: monitor.Shared, Engine: "valkeys://e:6379", Members: members})
	if r.expect(t, OK, "as gw1, together with 1 other gateway, through valkeys://e:6379"); len(r) != 1 {
		t.Errorf("got\n%s", r.text(t))
	}
	r = check(&monitor.Sharing{Mode: monitor.Alone, Engine: "valkeys://e:6379", LastError: "XADD: NOPERM"})
	r.expect(t, Failure, "counts alone", "valkeys://e:6379: XADD: NOPERM", "POSTERN_SHARE_URL")
	check(&monitor.Sharing{Mode: monitor.Joining}).expect(t, Warning, "does not yet know")
	members[1].Version = "v1"
	r = check(&monitor.Sharing{Mode: monitor.Shared, Members: members, Rejected: monitor.Transfer{Batches: 7}, LastError: "another key", Warning: "two gateways have the name gw1"})
	r.expect(t, Warning, "two gateways have the name gw1", "POSTERN_GATEWAY")
	r.expect(t, Warning, "7 batches", "another key", "deploy/valkey")
	r.expect(t, Warning, "different versions: gw1 v2, gw2 v1", "upgrade the others")
	for _, e := range []*examination{{}, {running: &monitor.State{}}} {
		if found := e.checkSharing(t.Context()); found != nil {
			t.Errorf("without sharing: got %v", found)
		}
	}
}

// TestReasonsOfErrors: what monitoring shows are the reasons of the engine.
func TestReasonsOfErrors(t *testing.T) {
	var reasons []string
	for _, r := range engine.Reasons() {
		reasons = append(reasons, string(r))
	}
	if got := monitor.SharingErrors(); !slices.Equal(got, reasons) {
		t.Errorf("got %q, want %q", got, reasons)
	}
}
