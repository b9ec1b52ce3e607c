package incident

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
)

// eventsOf returns all events of a Log in the order of its incidents.
func eventsOf(l *Log) (all []Event) {
	for _, i := range slices.Backward(l.All()) {
		all = append(all, i.Events...)
	}
	return all
}

// shuffled returns events in an order in which they may arrive: any, but the opening of an incident before its others.
func shuffled(r *rand.Rand, events []Event) []Event {
	all := slices.Clone(events)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b Event) int {
		switch {
		case a.Kind == KindOpen && b.Kind != KindOpen:
			return -1
		case a.Kind != KindOpen && b.Kind == KindOpen:
			return 1
		}
		return 0
	})
	return all
}

// busyLog returns a Log with incidents of all kinds and commands, some at the time of a state and some just after it.
func busyLog(t *testing.T) *logTest {
	d := newLogTest(t)
	d.feed(noticed, time.Minute)
	d.feed(attack, 10*time.Minute)
	d.do(ActAck, "", "")
	d.feed(both, 10*time.Minute)
	d.now = d.now.Add(300 * time.Millisecond)
	d.do(ActNote, "seen", "")
	d.do(ActMitigate, "limits are on", "")
	d.now = d.now.Truncate(10 * time.Second)
	d.feed(normal, 3*time.Hour)
	d.feed(attack, 5*time.Minute)
	d.do(ActReclassify, "", watch.ClassStorm)
	d.do(ActFalseAlarm, "", "")
	d.feed(normal, time.Hour)
	d.feed(backendsFail, 10*time.Minute)
	d.feed(normal, 2*time.Hour)
	return d
}

// TestAnyOrderOfEvents: events in any order, each perhaps twice, make the same incidents; and so does a file with the
// lines in this order.
func TestAnyOrderOfEvents(t *testing.T) {
	d := busyLog(t)
	want, r := incidentsOf(t, d.log), rand.New(rand.NewPCG(1, 2))
	for range 20 {
		follower, _ := Replay(nil, 0)
		var lines strings.Builder
		file := json.NewEncoder(&lines)
		events := shuffled(r, eventsOf(d.log))
		for _, e := range append(events, events[r.IntN(len(events)):]...) {
			added, err := follower.Apply(e)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range added {
				file.Encode(e)
			}
		}
		equal(t, want, incidentsOf(t, follower))
		again, found := Replay([]byte(lines.String()), 0)
		if found.Bad != nil || found.Events != len(events) {
			t.Fatalf("replayed %+v of %d", found, len(events))
		}
		equal(t, want, incidentsOf(t, again))
	}
}

// TestFollowerLeadsOn: a Log that has followed goes on as the one that has led.
func TestFollowerLeadsOn(t *testing.T) {
	d := newLogTest(t)
	follower, _ := Replay(nil, 0)
	feed := func(s watch.State, lasts time.Duration) {
		for end := d.now.Add(lasts); d.now.Before(end); {
			d.now = d.now.Add(tick)
			s.Time = d.now
			if _, err := follower.Apply(d.log.Observe(s)...); err != nil {
				t.Fatal(err)
			}
			follower.Follow(s)
		}
	}
	feed(normal, 10*time.Minute)
	feed(attack, 10*time.Minute)
	feed(normal, 4*time.Minute)
	equal(t, incidentsOf(t, d.log), incidentsOf(t, follower))
	for range 2 * 360 {
		d.now = d.now.Add(tick)
		s := normal
		s.Time = d.now
		equal(t, d.log.Observe(s), follower.Observe(s))
	}
	if _, open := follower.Open(); open {
		t.Error("the incident did not end")
	}
}

// TestRefusesForeignEvents that do not fit, and keeps what was there.
func TestRefusesForeignEvents(t *testing.T) {
	d := newLogTest(t)
	d.feed(attack, time.Minute)
	want, i := incidentsOf(t, d.log), d.phase(Investigating)
	for _, e := range []Event{
		{},
		{Time: d.now, Incident: "20200101-0000", Kind: KindNote},
		{Time: d.now, Incident: "20200101-0000", Kind: KindOpen, To: "odd", Class: watch.ClassAttack},
		{Time: d.now, Incident: i.ID, Kind: KindPhase, To: "odd"},
		{Time: d.now, Incident: i.ID, Kind: "odd"},
		{Time: d.now, Incident: i.ID, Kind: KindClass, Class: "odd"},
	} {
		if added, err := d.log.Apply(e); err == nil || len(added) > 0 {
			t.Errorf("%+v: got %v, %v", e, added, err)
		}
	}
	later := i.Events[0]
	later.Time = later.Time.Add(tick)
	if added, err := d.log.Apply(later, i.Events[0]); err != nil || len(added) > 0 {
		t.Errorf("another opening: got %v, %v", added, err)
	}
	equal(t, want, incidentsOf(t, d.log))
	early := i.Events[0]
	early.Time = early.Time.Add(-tick)
	if added, err := d.log.Apply(early); err != nil || len(added) != 1 || !d.phase(Investigating).Opened.Equal(early.Time) {
		t.Errorf("an earlier opening: got %v, %v", added, err)
	}
}

// TestReconcile: of two open incidents the one with the earlier ID continues, whatever order they came in.
func TestReconcile(t *testing.T) {
	one, two := newLogTest(t), newLogTest(t)
	one.feed(attack, 10*time.Minute)
	two.feed(normal, 2*time.Minute)
	two.feed(attack, 8*time.Minute)
	for _, c := range []struct{ here, there *logTest }{{one, two}, {two, one}} {
		l, _ := Replay(nil, 0)
		for _, from := range []*logTest{c.here, c.there} {
			if _, err := l.Apply(eventsOf(from.log)...); err != nil {
				t.Fatal(err)
			}
		}
		data, err := l.Export() // an upgrade at this moment
		if err != nil {
			t.Fatal(err)
		}
		if l, err = Import(data, 0); err != nil {
			t.Fatal(err)
		}
		made := l.Reconcile(one.now)
		first, second := one.log.All()[0].ID, two.log.All()[0].ID
		if len(made) != 1 || made[0].Incident != second || made[0].Into != first || made[0].To != Resolved {
			t.Fatalf("got %+v, want %s to end in %s", made, second, first)
		}
		if i, open := l.Open(); !open || i.ID != first {
			t.Errorf("open: %+v", i)
		}
		if i, _ := l.Find(second); i.Into != first || i.Phase != Resolved {
			t.Errorf("closed: %+v", i)
		}
		if made := l.Reconcile(one.now); len(made) != 0 {
			t.Errorf("again: %+v", made)
		}
	}
}
