package watch

import (
	"fmt"
	"testing"
	"time"
)

// ja4Hour returns the fingerprints of an hour with the given attempts.
func ja4Hour(t *testing.T, attempts ...Attempt) JA4s {
	t.Helper()
	w := New(Config{Location: monday.Location()})
	for _, a := range attempts {
		w.Attempt(monday, a)
	}
	_, h := w.Partial(monday)
	return h.JA4
}

// countsFor returns the counts of one fingerprint.
func countsFor(s JA4s, ja4 string) JA4Counts {
	for _, c := range s.Most {
		if c.JA4 == ja4 {
			return c
		}
	}
	return JA4Counts{}
}

// repeatJA4 returns n attempts with one fingerprint, each from a network of its own.
func repeatJA4(n int, ja4 string, o Outcome, known bool) (all []Attempt) {
	for i := range n {
		source, network := from(fmt.Sprintf("192.%d.%d.1", i/250, i%250))
		all = append(all, Attempt{Source: source, Network: network, Account: fmt.Sprint(i), Outcome: o, Known: known, JA4: ja4})
	}
	return all
}

func TestHourCountsJA4(t *testing.T) {
	var all []Attempt
	all = append(all, repeatJA4(94, "bot", Denied, false)...)
	all = append(all, repeatJA4(6, "user", Rejected, false)...)
	all = append(all, repeatJA4(500, "user", Accepted, true)...)
	all = append(all, repeatJA4(1, "bot", Accepted, false)...)
	all = append(all, repeatJA4(50, "user", Denied, true)...) // who mistyped
	all = append(all, repeatJA4(50, "", Denied, false)...)    // in clear text
	s := ja4Hour(t, all...)
	if s.Denied != 100 || s.Accepted != 501 || len(s.Most) != 2 {
		t.Fatalf("got %+v", s)
	}
	if m := countsFor(s, "bot"); m.Denied != 94 || m.Accepted != 1 || m.Networks.Count() < 70 || m.Networks.Count() > 120 {
		t.Errorf("got %+v from %d networks", m, m.Networks.Count())
	}
	if m := countsFor(s, "user"); m.Denied != 6 || m.Accepted != 500 {
		t.Errorf("got %+v", m)
	}
}

// Many thousand fingerprints need no more memory and no longer line, and do not hide those that are frequent.
func TestJA4IsBounded(t *testing.T) {
	w := New(Config{Location: monday.Location()})
	for i := range 10 * ja4Capacity {
		for _, o := range []Outcome{Denied, Accepted} {
			name := fmt.Sprint(i)
			if i%4 == 0 {
				name = "frequent " + o.String()
			}
			w.Attempt(monday, Attempt{Account: fmt.Sprint(i), Outcome: o, JA4: name})
		}
	}
	_, h := w.Partial(monday)
	if denied, accepted := countsFor(h.JA4, "frequent denied").Denied, countsFor(h.JA4, "frequent accepted").Accepted; denied < 2000 || accepted < 2000 || len(h.JA4.Most) > hourJA4 {
		t.Errorf("got %d fingerprints, %d denials and %d accepted of the most frequent", len(h.JA4.Most), denied, accepted)
	}
	if n := len(w.hours.ja4.denied.entries); n > ja4Capacity {
		t.Errorf("got %d entries, want at most %d", n, ja4Capacity)
	}
	var sum Hour
	for i := range 100 {
		part := Hour{Start: h.Start, JA4: JA4s{Denied: 7, Most: []JA4Counts{{JA4: "frequent", Denied: 5}, {JA4: fmt.Sprint(i), Denied: 2}}}}
		sum = sum.Merge(part)
	}
	if c := countsFor(sum.JA4, "frequent"); len(sum.JA4.Most) != hourJA4 || sum.JA4.Denied != 700 || c.Denied != 500 {
		t.Errorf("merged: got %d fingerprints, %d denials, %+v", len(sum.JA4.Most), sum.JA4.Denied, c)
	}
}

// The counts of an hour go on after an upgrade.
func TestExportKeepsJA4(t *testing.T) {
	w := New(Config{Location: monday.Location()})
	for _, a := range repeatJA4(5, "bot", Denied, false) {
		w.Attempt(monday, a)
	}
	next := handOver(t, monday, w)
	for _, a := range repeatJA4(3, "bot", Accepted, false) {
		next.Attempt(monday.Add(time.Second), a)
	}
	if _, h := next.Partial(monday.Add(time.Second)); len(h.JA4.Most) != 1 || h.JA4.Most[0].Denied != 5 || h.JA4.Most[0].Accepted != 3 {
		t.Errorf("got %+v", h.JA4)
	}
}
