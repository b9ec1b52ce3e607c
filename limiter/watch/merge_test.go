package watch

import (
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
