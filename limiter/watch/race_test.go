package watch

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestConcurrentUse: attempts reported at the same time as ticks and snapshots are all in the minutes.
func TestConcurrentUse(t *testing.T) {
	w := New(Config{})
	const reporters, each = 8, 2000
	var reporting, reading sync.WaitGroup
	for reporter := range reporters {
		reporting.Go(func() {
			for i := range each {
				now := monday.Add(time.Duration(i) * 50 * time.Millisecond)
				a := Attempt{Account: fmt.Sprint(i % 50), Outcome: Outcome(i % int(numOutcomes)), Known: i%3 == 0, Rule: "pair"}
				a.Source, a.Network = blocks(uint32(i*reporter), 1)
				w.Attempt(now, a)
				w.Opened(now)
				w.Closed(now)
			}
		})
	}
	sum := 0
	take := func(r Reading) {
		for _, m := range r.Minutes {
			sum += m.Logins()
		}
	}
	done := make(chan struct{})
	reading.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				take(w.Tick(monday.Add(time.Duration(i%100) * time.Second)))
				w.Partial(monday)
				w.Snapshot(monday)
				w.Relearn(monday)
			}
		}
	})
	reporting.Wait()
	close(done)
	reading.Wait()
	end := monday.Add(time.Hour)
	take(w.Tick(end))
	last, _ := w.Partial(end)
	sum += last.Logins()
	if sum != reporters*each {
		t.Errorf("reported %d attempts, got %d in the minutes", reporters*each, sum)
	}
}

// BenchmarkAttempt reports attempts of an attack, each from a network of its own.
func BenchmarkAttempt(b *testing.B) {
	w := New(Config{})
	now := monday
	var a Attempt
	b.ReportAllocs()
	for i := range b.N {
		if i%10_000 == 0 {
			now = now.Add(time.Second)
		}
		a = Attempt{Account: "kari", Outcome: Denied}
		a.Source, a.Network = blocks(uint32(i), 1)
		w.Attempt(now, a)
	}
}

// BenchmarkKnown reports attempts of a known user.
func BenchmarkKnown(b *testing.B) {
	w := New(Config{})
	a := Attempt{Account: "kari", Outcome: Accepted, Known: true, Usual: true}
	a.Source, a.Network = blocks(1, 1)
	b.ReportAllocs()
	for range b.N {
		w.Attempt(monday, a)
	}
}
