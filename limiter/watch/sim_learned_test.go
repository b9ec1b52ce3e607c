//go:build !race

package watch

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSimulationRelearnedIsUsualForGood: many sites have more wrong passwords of strangers than logins, always. Once a person has said
// so, it is usual, although their number varies, and also after a restart.
func TestSimulationRelearnedIsUsualForGood(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const accepted = 10
	noisy := func(w *Watch, from, to time.Time, guesses int) (alerts int) {
		for at := from; at.Before(to); at = at.Add(tick) {
			for range accepted {
				w.Attempt(at, Attempt{Outcome: Accepted, Known: true})
			}
			for range guesses*3/4 + random.IntN(guesses/2) {
				a := Attempt{Outcome: Denied, Credential: random.Uint64()}
				a.Source, a.Network = blocks(random.Uint32N(1<<22), 1)
				w.Attempt(at, a)
			}
			if s := w.Tick(at).State; s.Attacked() {
				alerts++
			}
		}
		return alerts
	}
	hour := func(n int) time.Time { return monday.Add(time.Duration(n) * time.Hour) }
	w := New(Config{})
	if noisy(w, hour(0), hour(1), 3*accepted) == 0 {
		t.Fatal("no alert at first")
	}
	w.Relearn(hour(1))
	w.Tick(hour(1).Add(tick))
	if n := noisy(w, hour(1).Add(tick), hour(30), 3*accepted); n > 0 {
		t.Errorf("an alert in %d ticks after a person said that it is usual", n)
	}
	again := New(Config{})
	if err := again.Restore(hour(30), w.Snapshot(hour(30))); err != nil {
		t.Fatal(err)
	}
	if n := noisy(again, hour(30), hour(60), 3*accepted); n > 0 {
		t.Errorf("an alert in %d ticks after a restart", n)
	}
	if noisy(again, hour(60), hour(61), 6*accepted) == 0 {
		t.Error("no alert for twice as many")
	}
}

// TestSimulationMergeKeepsWhatWasLearnedForLonger: a quarter-hour that was learned for more weeks counts.
func TestSimulationMergeKeepsWhatWasLearnedForLonger(t *testing.T) {
	now := monday.AddDate(0, 0, 18)
	day := func(n int) time.Time { return monday.AddDate(0, 0, n) }
	noon := func(n int) time.Time { return day(n).Add(12 * time.Hour) }
	own := learnedWeeks(day(7), now, 20)         // 11 days: the first four of the week twice
	other := learnedWeeks(day(0), day(7), 40)    // once
	longer := learnedWeeks(day(-14), day(7), 40) // three times
	for name, tc := range map[string]struct {
		own   *Watch
		data  []byte
		wants [2]float64 // on the first and on the sixth day of the week
	}{
		"as long":        {own, other.Snapshot(day(7)), [2]float64{21, 21}},
		"for longer":     {own, longer.Snapshot(day(7)), [2]float64{41, 41}},
		"more of a week": {learnedWeeks(day(14), now, 20), other.Snapshot(day(7)), [2]float64{21, 41}},
	} {
		w := New(Config{}) // several rows merge into own
		if err := errors.Join(w.Restore(now, tc.own.Snapshot(now)), w.Merge(now, tc.data)); err != nil {
			t.Fatal(err)
		}
		for i, want := range tc.wants {
			at := noon(21 + 5*i)
			if got := expectedAt(w, at); !near(got, want) {
				t.Errorf("%s: %s: %.1f logins a tick are expected, want %.0f", name, at.Weekday(), got, want)
			}
		}
		if got := w.Learned(now); got < .98 {
			t.Errorf("%s: learned %.2f of the week", name, got)
		}
	}
}

// TestSimulationMergeHabits takes over the habits of accounts if they were learned for longer, and else keeps its own.
func TestSimulationMergeHabits(t *testing.T) {
	day := func(n int) time.Time { return monday.AddDate(0, 0, n) }
	uses := func(w *Watch, from, to time.Time, hourly int) {
		for at := from; at.Before(to); at = at.Add(time.Hour) {
			for i := range hourly {
				w.Attempt(at.Add(time.Duration(i)*time.Second), Attempt{Account: "anna", Known: true, Usual: true, Outcome: Accepted})
			}
			for next := at.Add(gap / 2); next.Before(at.Add(time.Hour)); next = next.Add(gap / 2) {
				w.Tick(next)
			}
		}
	}
	other := New(Config{})
	uses(other, day(0), day(7), 40)
	for name, tc := range map[string]struct {
		from time.Time
		want int
	}{"less": {day(5), 40}, "more": {day(-7), 10}} {
		w := New(Config{})
		uses(w, tc.from, day(7), 10)
		if err := w.Merge(day(7), other.Snapshot(day(7))); err != nil {
			t.Fatal(err)
		}
		if got := w.habits.accept(day(8), w.hash.account("anna"), false).habit(); got < tc.want*9/10 || got > tc.want*11/10 {
			t.Errorf("%s: got a habit of %d logins an hour, want about %d", name, got, tc.want)
		}
	}
}
