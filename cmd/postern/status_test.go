package main

import (
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
)

// TestStatusOfSharing: the text has all gateways, and steers no terminal.
func TestStatusOfSharing(t *testing.T) {
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	s := monitor.State{
		Verdict: "normal", Generations: []monitor.Generation{{Number: 1, PID: 7, Version: "v2", Since: now.Add(-time.Hour)}},
		Sharing: &monitor.Sharing{
			Gateway: "gw1", Mode: monitor.Alone, Since: now.Add(-90 * time.Second), Engine: "valkeys://engine:6379", ReceiptAge: 91.2, GlobalPart: .5,
			Members: []monitor.Member{
				{Name: "gw1", Version: "v2", Mode: monitor.Alone, Own: true, Leads: true}, {Name: "gw2\x1b[2J", Version: "v1", Mode: monitor.Shared, SeenAgo: 91.4},
			},
			Sent: monitor.Transfer{Records: 30}, Received: monitor.Transfer{Records: 40}, Lost: monitor.Transfer{Records: 5}, Rejected: monitor.Transfer{Batches: 6},
			Errors: map[string]uint64{"timeout": 2, "down": 31, "full": 0}, LastError: "XADD: dial tcp: refused", Warning: "two gateways have the name gw1",
		},
	}
	want := `ready; detector: normal; backends up: 0 of 0; connections: 0 of 0

sharing: alone for 1m30s; engine: valkeys://engine:6379; last receipt: 1m31s ago; part of LIMIT_GLOBAL: 50 %
records: 30 sent, 40 received, 5 lost; batches rejected: 6; errors of the engine: 31 down, 2 timeout
last error: XADD: dial tcp: refused
warning: two gateways have the name gw1

GATEWAY  VERSION  MODE    SEEN       ROLE
gw1      v2       alone   this one   alerts people
gw2 [2J  v1       shared  1m31s ago  -

GENERATION  PROCESS  VERSION  AGE   SESSIONS  BEFORE LOGIN  ENDS
1           7        v2       1h0m  0         0             -
`
	var out strings.Builder
	if err := printStatus(&out, now, s); err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out.String(), want)
	}
	before, _, _ := strings.Cut(want, "sharing: ")
	_, after, _ := strings.Cut(want, "GENERATION")
	s.Sharing = nil
	out.Reset()
	if err := printStatus(&out, now, s); err != nil || out.String() != before+"GENERATION"+after {
		t.Errorf("without sharing: got %v\n%s", err, out.String())
	}
}
