package report

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/limiter/watch"
)

// TestHistory: parts add up, and old ones are deleted.
func TestHistory(t *testing.T) {
	h := NewHistory()
	prefix := netip.MustParsePrefix("192.0.2.0/24")
	for i := range historyDays*24*60 + 100 {
		m := watch.Minute{Start: monday.Add(time.Duration(i) * time.Minute), Known: watch.Outcomes{Accepted: 1}}
		h.AddMinute(m)
		if i%2 == 0 {
			h.AddMinute(m)
		}
		if i%60 == 0 {
			h.AddHour(watch.Hour{Start: m.Start, Networks: []watch.Target{{Name: prefix.String(), Denials: i}}})
			h.AddHour(watch.Hour{Start: m.Start, Networks: []watch.Target{{Name: prefix.String(), Denials: 1}}})
		}
	}
	end := monday.AddDate(1, 0, 0)
	minutes := h.Minutes(monday, end)
	if len(minutes) != historyDays*24*60 || minutes[0].Known.Accepted != 2 || minutes[1].Known.Accepted != 1 {
		t.Errorf("%d minutes, the first with %+v", len(minutes), minutes[0].Known)
	}
	hours := h.Hours(monday, end)
	if len(hours) != historyDays*24 || hours[0].Networks[0].Denials != 120+1 {
		t.Errorf("%d hours, the first with %+v", len(hours), hours[0].Networks)
	}
	at := monday.AddDate(0, 0, 20)
	if got := h.Minutes(at, at.Add(5*time.Minute)); len(got) != 5 || !got[0].Start.Equal(at) {
		t.Errorf("of five minutes: %+v", got)
	}
	if got := h.Hours(at.Add(30*time.Minute), at.Add(61*time.Minute)); len(got) != 2 {
		t.Errorf("of the hours touched: %+v", got)
	}
	h.AddMinute(watch.Minute{Start: monday})
	if got := h.Minutes(monday, monday.Add(time.Hour)); got != nil {
		t.Errorf("kept a minute that is too old: %+v", got)
	}
}

// TestHistoryConcurrentUse: everything added at the same time as queries is kept.
func TestHistoryConcurrentUse(t *testing.T) {
	h := NewHistory()
	const adders, each = 4, 500
	var done sync.WaitGroup
	for range adders {
		done.Go(func() {
			for i := range each {
				start := monday.Add(time.Duration(i) * time.Minute)
				h.AddMinute(watch.Minute{Start: start, Known: watch.Outcomes{Accepted: 1}})
				h.AddHour(watch.Hour{Start: start.Truncate(time.Hour)})
				h.Minutes(monday, start)
				h.Hours(monday, start)
			}
		})
	}
	done.Wait()
	sum := 0
	for _, m := range h.Minutes(monday, monday.AddDate(0, 0, 1)) {
		sum += m.Known.Accepted
	}
	if sum != adders*each {
		t.Errorf("added %d, got %d", adders*each, sum)
	}
}
