package watch

import (
	"net/netip"
	"testing"
	"time"
)

// monday is 00:00 UTC on a Monday.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// from returns a source and its network.
func from(s string) (source, network netip.Prefix) {
	source = netip.MustParsePrefix(s + "/32")
	return source, netip.PrefixFrom(source.Addr(), 24).Masked()
}

// TestMinutes: attempts count in the minute in which they were reported, however late Tick is called.
func TestMinutes(t *testing.T) {
	w := New(Config{})
	source, network := from("192.0.2.1")
	report := func(after time.Duration, o Outcome, known bool) {
		w.Attempt(monday.Add(after), Attempt{Source: source, Network: network, Account: "a", Outcome: o, Known: known})
	}
	report(0, Accepted, true)
	report(59*time.Second, Denied, false)
	report(60*time.Second, Rejected, false)
	w.Opened(monday.Add(61 * time.Second))
	r := w.Tick(monday.Add(125 * time.Second))
	if len(r.Minutes) != 2 || !r.Ticked {
		t.Fatalf("got %d minutes, ticked %v", len(r.Minutes), r.Ticked)
	}
	first, second := r.Minutes[0], r.Minutes[1]
	if !first.Start.Equal(monday) || first.Known.Accepted != 1 || first.Stranger.Denied != 1 || first.Networks != 1 || first.Users.Good != 1 {
		t.Errorf("first minute: %+v", first)
	}
	if second.Stranger.Rejected != 1 || second.Opened != 1 || second.Logins() != 1 {
		t.Errorf("second minute: %+v", second)
	}
	if r := w.Tick(monday.Add(126 * time.Second)); len(r.Minutes) != 0 || r.Ticked {
		t.Errorf("returned twice: %+v", r)
	}
}

// TestAssume: with assumed rates a watch detects an attack within a minute, without having learned.
func TestAssume(t *testing.T) {
	w := New(Config{})
	w.Assume(monday, Signals{Logins: 1200, Suspects: 24, Networks: 24})
	if s := w.Tick(monday.Add(tick)).State; s.Class != ClassNormal || s.Learned != 1 || s.Busy != 1176 {
		t.Errorf("at first: %+v", s)
	}
	for i := range 60 * 10 {
		a := Attempt{Outcome: Denied}
		a.Source, a.Network = blocks(uint32(i), 1)
		w.Attempt(monday.Add(tick+time.Duration(i)*100*time.Millisecond), a)
	}
	if s := w.Tick(monday.Add(70 * time.Second)).State; s.Class != ClassAttack {
		t.Errorf("a minute into an attack: %+v", s)
	}
}
