//go:build !race

package watch

import (
	"math"
	"testing"
	"time"
)

// TestSimulationRestored: a watch that was restored from a snapshot expects the same as the one that made it.
func TestSimulationRestored(t *testing.T) {
	t.Parallel()
	w := newSimulation(7, 5, monday, oslo)
	for w.now.Before(monday.AddDate(0, 0, 9)) {
		w.tick()
	}
	data := w.Snapshot(w.now)
	again := New(Config{Location: w.location})
	if err := again.Restore(w.now, data); err != nil {
		t.Fatal(err)
	}
	if second := again.Snapshot(w.now); string(second) != string(data) {
		t.Error("the restored watch makes another snapshot")
	}
	for range 1000 {
		at := w.now.Add(time.Second)
		a := Attempt{Outcome: Denied}
		a.Source, a.Network = blocks(w.rand.Uint32N(5000), 1)
		w.Attempt(at, a)
		again.Attempt(at, a)
		for range 20 { // suspects beyond the accepted are not learned
			user := Attempt{Outcome: Accepted, Known: true}
			w.Attempt(at, user)
			again.Attempt(at, user)
		}
		w.now = w.now.Add(tick)
		one, two := w.Tick(w.now).State, again.Tick(w.now).State
		if math.Abs(one.Expected.Suspects-two.Expected.Suspects) > 1e-9 || math.Abs(one.Expected.Logins-two.Expected.Logins) > 1e-9 ||
			one.Learned != two.Learned {
			t.Fatalf("the states differ:\n%+v\n%+v", one, two)
		}
	}
}
