package watch

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// learnedWeeks returns a watch that has learned a constant rate of logins in a tick, of which one is denied, from start
// until end.
func learnedWeeks(start, end time.Time, logins int) *Watch {
	w := New(Config{})
	denied := Attempt{Outcome: Denied, Network: netip.MustParsePrefix("192.0.2.0/24")}
	for t := start; t.Before(end); t = t.Add(tick) {
		w.lock(t)
		w.counts.known.Accepted += logins
		w.mu.Unlock()
		w.Attempt(t, denied)
		w.Tick(t)
	}
	return w
}

// expectedAt returns the logins expected in a tick at t.
func expectedAt(w *Watch, t time.Time) float64 {
	r, _ := w.detector.baseline.expected(t)
	return r[ofLogins]
}

// near reports whether a and b differ by less than a tenth.
func near(a, b float64) bool { return a > .9*b && a < 1.1*b }

// TestMergeIntoNothing takes over all that another watch has learned.
func TestMergeIntoNothing(t *testing.T) {
	end := monday.AddDate(0, 0, 8)
	other := learnedWeeks(monday, end, 20)
	w := New(Config{})
	if err := w.Merge(end, other.Snapshot(end)); err != nil {
		t.Fatal(err)
	}
	if got := w.Learned(end); got < .99 {
		t.Errorf("learned %.2f of the week", got)
	}
	if got, want := string(w.Snapshot(end)), string(other.Snapshot(end)); got != want {
		t.Error("the snapshot differs from that of the other watch")
	}
}

// TestMergeKeepsWhatWasLearnedForLonger: a quarter-hour that was learned for more weeks counts.
func TestMergeKeepsWhatWasLearnedForLonger(t *testing.T) {
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

// TestMergeDuringAnAttack neither ends the alarm nor learns from it.
func TestMergeDuringAnAttack(t *testing.T) {
	now := monday.AddDate(0, 0, 8)
	other := learnedWeeks(monday, now, 20).Snapshot(now)
	w := learnedWeeks(monday.AddDate(0, 0, 3), now, 20)
	guess := uint64(0)
	attack := func(to time.Time) (s State) {
		for ; now.Before(to); now = now.Add(tick) {
			for i := range 300 {
				guess++
				w.Attempt(now, Attempt{Outcome: Denied, Credential: guess, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{128, byte(i >> 8), byte(i), 0}), 24)})
			}
			s = w.Tick(now).State
		}
		return s
	}
	if s := attack(now.Add(10 * time.Minute)); !s.Attacked() {
		t.Fatalf("no attack before the merge: %+v", s)
	}
	if err := w.Merge(now, other); err != nil {
		t.Fatal(err)
	}
	if s := attack(now.Add(2 * tick)); !s.Attacked() || !s.Frozen {
		t.Errorf("after the merge: %+v", s)
	}
}

// TestMergeHabits takes over the habits of accounts if they were learned for longer, and else keeps its own.
func TestMergeHabits(t *testing.T) {
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

// TestMergeForgetsAnOldDay: how the last day of a log differed from the usual says nothing about this one.
func TestMergeForgetsAnOldDay(t *testing.T) {
	end := monday.AddDate(0, 0, 8)
	data := learnedWeeks(monday, end, 20).Snapshot(end)
	for _, tc := range []struct {
		after time.Duration
		fresh bool
	}{{time.Hour, true}, {30 * time.Hour, false}} {
		w := New(Config{})
		if err := w.Merge(end.Add(tc.after), data); err != nil {
			t.Fatal(err)
		}
		if got := w.detector.dayFactor.ticks > 0; got != tc.fresh {
			t.Errorf("%v after the log: the factor of the day is kept: %v", tc.after, got)
		}
	}
}

// TestMergeRefusesDamage: nothing changes then.
func TestMergeRefusesDamage(t *testing.T) {
	w := learnedWeeks(monday, monday.Add(3*time.Hour), 20)
	now := monday.Add(3 * time.Hour)
	before := w.Snapshot(now)
	damaged := append([]byte(nil), before...)
	damaged[100]++
	if err := w.Merge(now, damaged); err == nil || string(w.Snapshot(now)) != string(before) {
		t.Errorf("got %v", err)
	}
}
