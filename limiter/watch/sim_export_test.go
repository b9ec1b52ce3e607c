//go:build !race

package watch

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// twins are two simulations of the same service. One of them is handed over to another watch again and again.
type twins struct{ straight, handed *simulation }

// newTwins returns twins that begin at t with these events. The usual rates are known, or not as on the first day; and so
// are the habits of accounts.
func newTwins(t time.Time, known, habits bool, events ...event) *twins {
	w := &twins{newSimulation(11, 5, t, oslo), newSimulation(11, 5, t, oslo)}
	w.handed.Watch = New(Config{Location: w.straight.location})
	for _, s := range []*simulation{w.straight, w.handed} {
		s.events = events
		s.Watch.location = w.straight.location
		if known {
			s.Assume(t, Signals{Logins: 200, Suspects: 6, Networks: 5})
		}
		if habits {
			s.habits.hours = abuseHours
		}
	}
	return w
}

// users reports attempts at named accounts, by users and by attackers. Some users log in far too often.
func (w *simulation) users() {
	for range 20 {
		a := Attempt{Account: fmt.Sprintf("user%d", w.rand.IntN(50)), Outcome: Accepted, Credential: w.rand.Uint64N(300), Known: w.rand.IntN(3) > 0}
		a.Worked, a.Usual = w.rand.IntN(2) > 0, w.rand.IntN(2) > 0
		if w.rand.IntN(3) == 0 {
			a.Outcome, a.Rule, a.Waited = Outcome(w.rand.IntN(int(numOutcomes))), "source", time.Duration(w.rand.IntN(5))*time.Second
		}
		a.Source, a.Network = blocks(w.rand.Uint32N(40), byte(w.rand.Uint32()))
		w.Attempt(w.now, a)
	}
}

// tick simulates 10 s of both and compares them. With handOver, one is handed over after so much of the tick.
func (w *twins) tick(t *testing.T, handOver bool, after time.Duration) Reading {
	t.Helper()
	for _, s := range []*simulation{w.straight, w.handed} {
		s.generate(s.nextLoad())
		s.users()
	}
	at := w.straight.now.Add(after)
	minute, hour := w.straight.Partial(at)
	if handOver {
		next := New(Config{Location: w.straight.location})
		if err := next.Import(at, w.handed.Export(at)); err != nil {
			t.Fatal(err)
		}
		w.handed.Watch = next
	}
	otherMinute, otherHour := w.handed.Partial(at)
	w.equal(t, []any{minute, hour}, []any{otherMinute, otherHour})
	readings := [2]Reading{}
	for i, s := range []*simulation{w.straight, w.handed} {
		s.now = s.now.Add(tick)
		readings[i] = s.Tick(s.now)
	}
	w.equal(t, readings[0], readings[1])
	return readings[0]
}

// equal fails unless both watches say the same.
func (w *twins) equal(t *testing.T, straight, handed any) {
	t.Helper()
	if !reflect.DeepEqual(straight, handed) {
		t.Fatalf("at %v, straight through:\n%+v\nhanded over:\n%+v", w.straight.now, straight, handed)
	}
}

// TestSimulationHandedOver: a watch that is handed over again and again, in calm and in all kinds of trouble, at the
// beginning of a tick, of a minute and of an hour and between them, says the same as one that is not.
func TestSimulationHandedOver(t *testing.T) {
	t.Parallel()
	start := monday.Add(9*time.Hour + 40*time.Minute)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		name   string
		known  bool
		habits bool
		event  func(*simulation, time.Duration, *load)
		want   Class
	}{
		{"attack", true, false, step(1), ClassAttack},
		{"notice", true, false, step(0.06), ClassNotice},
		{"password database", true, false, database(15 * time.Minute), ClassAuthFault},
		{"backends", true, false, outage(0.5, 15*time.Minute), ClassBackendFault},
		{"abused accounts", true, true, step(0), ClassAccountAbuse},
		{"first day", false, false, step(3), ClassAttack},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, classes, moments := newTwins(start, c.known, c.habits, event{at(15), c.event}), map[Class]bool{}, rand.New(rand.NewPCG(1, 2))
			for w.straight.now.Before(at(60)) {
				full := w.straight.now.Second() == 0 && w.straight.now.Minute()%20 == 0
				after := time.Duration(moments.IntN(4)) * 3 * time.Second
				r := w.tick(t, full || moments.IntN(4) == 0, after)
				classes[r.State.Class] = true
			}
			if !classes[c.want] {
				t.Errorf("got the classes %v, want %s among them", classes, c.want)
			}
			if f := compareContents(w.straight.Watch, w.handed.Watch); len(f.wrong) > 0 {
				t.Errorf("the watches differ: %q", f.wrong)
			}
		})
	}
}
