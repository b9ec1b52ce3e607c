package page

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// hostile are account names that a client may send.
var hostile = []string{
	`<img src=x onerror=alert(1)>`,
	"\u202egnp.exe\u2066user",
	`"'><script>alert(2)</script>&amp;`,
	strings.Repeat("W", 128),
}

// sampleTime is when the sample was taken.
var sampleTime = time.Now().Truncate(time.Second)

// sample is a view of a gateway during an attack, at one second after another.
func sample(second int, detail bool) *view.View {
	now := sampleTime.Add(time.Duration(second) * time.Second)
	v := &view.View{
		Time: now, Host: "mail.example", Version: "1.8.0", Level: "WARNING",
		Text:  "attack since 11:05 UTC, known users 99.6 % served over 5 min",
		Tight: true, State: sampleState(now),
		Lanes:  view.Lanes{Size: 200, Left: 61.5, Reserved: 50, StrangersWait: 38, StrangerSlots: 2},
		Tarpit: view.Place{Now: 412, Max: 2000}, Tables: view.Tables{Buckets: 48211, Max: 500000, Known: 21034},
		Backends: []view.Backend{
			{Protocol: "imap", Addr: "10.0.0.11:143", Up: true, Logins: view.Place{Now: 4, Max: 32}, Sessions: 5120},
			{Protocol: "imap", Addr: "10.0.0.12:143", Logins: view.Place{Max: 32}, Error: "dial tcp 10.0.0.12:143: connect: connection refused"},
			{Protocol: "pop3", Addr: "10.0.0.11:110", Up: true, Logins: view.Place{Now: 31, Max: 32}, Sessions: 12},
		},
		Listeners: []view.Listener{
			{Name: "imap", Addr: "0.0.0.0:143", Open: 310, Rate: 120}, {Name: "imaps", Addr: "[::]:993", Open: 5300, Rate: 2210, Proxy: true},
			{Name: "pop3s", Addr: "[::]:995", Open: 40, Rate: 31},
		},
	}
	if detail {
		v.Detail = sampleDetail(now)
	}
	return v
}

// sampleState is the state of one of two gateways, whose upgrade has left a generation.
func sampleState(now time.Time) monitor.State {
	began := now.Add(-43 * time.Minute)
	return monitor.State{
		Sharing: sampleSharing(),
		Verdict: "attack", Since: began, Learned: 1, Excess: .62,
		Incident: &monitor.Incident{ID: "20261127-1105", Class: "attack", Stage: "mitigating", Since: began, Acknowledged: true},
		Known:    monitor.Known{Good: 1203, Slow: 9, Limited: 4, Failed: 1, Greeted: 210 * time.Millisecond},
		Logins:   monitor.Logins{Accepted: 1302, Denied: 5120, Refused: 20410, Void: 31, Expected: 1280},
		Backends: monitor.Backends{Up: 2, All: 3}, Connections: 5650, MaxConnections: 20000,
		Generations: []monitor.Generation{
			{Number: 3, PID: 4711, Version: "1.8.0", Since: now.Add(-2 * time.Hour), Sessions: 4011, Prelogin: 480},
			{Number: 2, PID: 3022, Version: "1.7.2", Since: now.Add(-30 * time.Hour), Sessions: 1121, Until: now.Add(22 * time.Hour)},
		},
	}
}

// sampleSharing is that of a gateway with another one, which is alone.
func sampleSharing() *monitor.Sharing {
	return &monitor.Sharing{
		Gateway: "gw1", Mode: monitor.Shared, Engine: "valkeys://engine.example:6379", Leader: "gw1", ReceiptAge: 1.2, GlobalPart: .5,
		Members: []monitor.Member{
			{Name: "gw1", Version: "1.8.0", Mode: monitor.Shared, Leads: true, Own: true}, {Name: "gw2", Version: "1.7.2", Mode: monitor.Alone, SeenAgo: 42},
		},
		Lost: monitor.Transfer{Records: 1300}, LastError: "XADD: timeout",
	}
}

// sampleSeries has the seconds before and with this one, as many as the first view of a stream.
func sampleSeries(second, n int) (series []recent.Second) {
	for s := second - n + 1; s <= second; s++ {
		r := rand.New(rand.NewPCG(uint64(s), 1))
		attack := uint32(0)
		if s > -200 {
			attack = 60 + r.Uint32N(25)
		}
		series = append(series, recent.Second{
			Time: sampleTime.Unix() + int64(s), Known: 3 + r.Uint32N(4), Stranger: r.Uint32N(2),
			Denied: 2 + attack/5, Repeat: attack / 9, Refused: attack, Void: r.Uint32N(2),
		})
	}
	return series
}

// rows are n rows whose figures change from second to second.
func rows(n int, now time.Time, name func(int) string) (list []recent.Row) {
	for i := range n {
		attempts := 900 - 15*i + int(now.Unix()%7)
		list = append(list, recent.Row{
			Name: name(i), Attempts: attempts, Denied: attempts / 5, Refused: attempts - attempts/5, Waited: attempts / 3, Others: 40 - i/2,
			Rule: []string{"source", "network", "pair", "prefix"}[i%4], First: now.Add(-20 * time.Minute), Last: now.Add(-time.Duration(i) * time.Second), Known: i%9 == 4,
		})
	}
	return list
}

// sampleDetail is what names clients and accounts.
func sampleDetail(now time.Time) *view.Detail {
	account := func(i int) string {
		if i < len(hostile) {
			return hostile[i]
		}
		return fmt.Sprintf("user%d@example.org", i)
	}
	d := &view.Detail{
		Top: recent.Top{
			Window:   15 * time.Minute,
			Sources:  rows(50, now, func(i int) string { return fmt.Sprintf("203.0.113.%d", i+1) }),
			Networks: rows(50, now, func(i int) string { return fmt.Sprintf("198.51.%d.0/24", i+1) }),
			Accounts: rows(50, now, account),
		},
		Incidents: sampleIncidents(now),
	}
	for i := range 50 {
		d.Refusals = append(d.Refusals, recent.Event{
			Time: now.Add(-time.Duration(i) * time.Second), Session: fmt.Sprintf("k7Qx%04dZ", now.Add(-time.Duration(i)*time.Second).Unix()%10000), Attempt: i%5 != 0, Listener: "imaps",
			Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), Account: account(i), Method: "PLAIN", Action: "reject", Rule: "source", Result: "refused",
			Why: "bucket of the source is empty: POSTERN_LIMIT_SOURCE=20/1h", Waited: time.Duration(i) * 300 * time.Millisecond, Enforced: i%7 != 6, Known: i == 3,
		})
	}
	return d
}

// sampleIncidents are one that is open and one that has ended.
func sampleIncidents(now time.Time) []incident.Incident {
	began := now.Add(-43 * time.Minute)
	evidence := incident.Evidence{Excess: .71, Observed: watch.Signals{Logins: 5400}, Served: .996}
	return []incident.Incident{
		{
			ID: "20261127-1105", Phase: incident.Mitigating, Class: watch.ClassAttack, Started: began, Since: began, Opened: began, Detected: began, Published: began, Changed: began,
			Peak: evidence, AckedBy: "anna", Symptoms: []incident.Symptom{{Class: watch.ClassBackendFault, From: began}},
			Events: []incident.Event{
				{Time: began, Incident: "20261127-1105", Kind: incident.KindOpen, To: incident.Detected, Class: watch.ClassAttack, By: "postern"},
				{Time: began, Incident: "20261127-1105", Kind: incident.KindAck, By: "anna"},
				{Time: began, Incident: "20261127-1105", Kind: incident.KindNote, By: "anna", Text: "<b>called</b> the provider"},
			},
		},
		{
			ID: "20261120-0310", Phase: incident.Resolved, Class: watch.ClassStorm, Started: began.AddDate(0, 0, -7), Since: began.AddDate(0, 0, -7), Ended: began.AddDate(0, 0, -6), Changed: began.AddDate(0, 0, -6),
			Events: []incident.Event{{Time: began, Incident: "20261120-0310", Kind: incident.KindOpen, Class: watch.ClassStorm, By: "postern"}},
		},
	}
}

// sampleExplanation answers a question.
func sampleExplanation(about string, in []decisions.Decision) explain.Explanation {
	e := explain.Explanation{
		Time: time.Now(), About: about, Subject: explain.Account,
		Summary: "Refused by rule source: the client made 21 wrong guesses within an hour, and its bucket is empty.",
		Facts: []explain.Fact{
			{Heading: "What happened", Text: "refused at 11:52:03, as a stranger"}, {Heading: "Buckets", Text: "source: 20 of 20 spent, full again in 58 min"},
			{Heading: "Buckets", Text: "network: 130 of 400 spent"}, {Heading: "Now", Text: "a stranger is refused by rule source; a known device passes"},
		},
		Advice:    []explain.Advice{{Text: "If this is a user with a wrong password in a phone, forget the denials:", Command: "postern release " + about}, {Text: "Wait for 3 minutes."}},
		Events:    sampleDetail(sampleTime).Refusals[:3],
		Decisions: in,
	}
	if _, err := netip.ParseAddr(about); err == nil {
		e.Subject = explain.Source
	} else if _, err := netip.ParsePrefix(about); err == nil {
		e.Subject = explain.Network
	} else if strings.HasPrefix(about, "k7Qx") {
		e.Subject = explain.Session
	}
	return e
}
