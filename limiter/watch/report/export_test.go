package report

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
)

// exportedHistory returns a history of some hours, as a watch makes it.
func exportedHistory() *History {
	h, w := NewHistory(), watch.New(watch.Config{})
	for i := range 3 * 360 {
		now := monday.Add(time.Duration(i) * 10 * time.Second)
		a := watch.Attempt{
			Source: netip.MustParsePrefix("192.0.2.1/32"), Network: netip.MustParsePrefix("192.0.2.0/24"), Account: "anna",
			Outcome: watch.Outcome(i % 7), Known: i%3 == 0, Credential: uint64(i + 1), Rule: "source", Waited: time.Duration(i),
			JA4: []string{"", "t13d1312ip_f57a46bbacb6_ab7e3b40a677", "t12d190600_d83cc789557e_7af1ed941c26"}[i/7%3],
		}
		w.Attempt(now, a)
		r := w.Tick(now)
		for _, m := range r.Minutes {
			h.AddMinute(m)
		}
		for _, hour := range r.Hours {
			h.AddHour(hour)
		}
	}
	return h
}

// TestExportHasAllPeriods with all that is in them, and periods that are added later.
func TestExportHasAllPeriods(t *testing.T) {
	h := exportedHistory()
	next, err := ImportHistory(h.Export())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		from, to := monday.AddDate(0, 0, -1), monday.AddDate(1, 0, 0)
		if a, b := h.Minutes(from, to), next.Minutes(from, to); len(a) < 170 || !reflect.DeepEqual(a, b) {
			t.Errorf("got %d minutes, want %d:\n%+v\n%+v", len(b), len(a), b, a)
		}
		if a, b := h.Hours(from, to), next.Hours(from, to); len(a) != 2 && len(a) != 3 || !reflect.DeepEqual(a, b) {
			t.Errorf("got %d hours, want %d:\n%+v\n%+v", len(b), len(a), b, a)
		}
		for _, to := range []*History{h, next} {
			to.AddMinute(watch.Minute{Start: monday.AddDate(0, 0, 30), Opened: 1})
			to.AddHour(watch.Hour{Start: monday.Add(3 * time.Hour), Missed: 1})
		}
	}
}

// TestRefusesInvalidHistory: the error says what is wrong.
func TestRefusesInvalidHistory(t *testing.T) {
	good := exportedHistory().Export()
	for name, data := range map[string][]byte{"nothing": nil, "cut": good[:len(good)-1], "longer": append(good[:len(good):len(good)], 0)} {
		if _, err := ImportHistory(data); err == nil || !strings.HasPrefix(err.Error(), "import the history: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzImportHistory: no data makes ImportHistory or what follows it panic, and what it accepts can be exported again.
func FuzzImportHistory(f *testing.F) {
	f.Add(exportedHistory().Export())
	f.Add(NewHistory().Export())
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ImportHistory(data)
		if err != nil {
			return
		}
		h.AddMinute(watch.Minute{Start: monday, Opened: 1})
		h.AddHour(watch.Hour{Start: monday, Missed: 1})
		h.AddMinute(watch.Minute{Start: monday.AddDate(0, 0, 50), Opened: 1})
		h.Minutes(monday, monday.Add(time.Hour))
		h.Hours(monday, monday.Add(time.Hour))
		if _, err := ImportHistory(h.Export()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestClear: a history that another process has taken over has nothing left.
func TestClear(t *testing.T) {
	h := exportedHistory()
	h.Clear()
	if got := h.Minutes(monday, monday.AddDate(0, 0, 1)); len(got) > 0 {
		t.Errorf("got %d minutes", len(got))
	}
}
