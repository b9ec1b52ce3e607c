package watch

import (
	"testing"
	"time"
)

// A sprayTest is a watch of a site with two logins a second, where 30 networks an hour are usually denied.
type sprayTest struct {
	*Watch
	now     time.Time
	network uint32
}

func newSprayTest() *sprayTest {
	w := &sprayTest{Watch: New(Config{}), now: monday}
	w.Assume(w.now, Signals{Logins: 120, Suspects: 0.5, Networks: 0.5})
	w.feed(3*time.Hour, 2*time.Minute, Attempt{})
	return w
}

// feed reports users, and a denial like a from another network every so often.
func (w *sprayTest) feed(lasts, every time.Duration, a Attempt) (s State) {
	a.Outcome = Denied
	next := w.now
	for end := w.now.Add(lasts); w.now.Before(end); {
		w.now = w.now.Add(tick)
		for ; !next.After(w.now); next = next.Add(every) {
			w.network++
			a.Source, a.Network = blocks(w.network, 1)
			w.Attempt(w.now, a)
		}
		for range 20 {
			w.Attempt(w.now, Attempt{Outcome: Accepted, Known: true, Usual: true})
		}
		s = w.Tick(w.now).State
	}
	return s
}

// TestSlowSprayOfAWatch: 500 sources with one try an hour are an alarm within two hours, and it ends.
func TestSlowSprayOfAWatch(t *testing.T) {
	w := newSprayTest()
	if s := w.feed(time.Hour, 2*time.Minute, Attempt{}); s.SlowSpray || s.Class != ClassNormal {
		t.Errorf("before: %+v", s)
	}
	if s := w.feed(50*time.Minute, 7*time.Second, Attempt{}); s.SlowSpray {
		t.Errorf("after 50 min: %+v", s)
	}
	if s := w.feed(70*time.Minute, 7*time.Second, Attempt{}); !s.SlowSpray || s.Class != ClassSlowSpray {
		t.Errorf("after two hours: %+v", s)
	}
	if s := w.feed(30*time.Hour, 7*time.Second, Attempt{}); !s.SlowSpray {
		t.Errorf("after a day: %+v", s)
	}
	if usual, _ := w.spray.expected(4); usual > 35 {
		t.Errorf("the spray was learned: %.0f networks an hour are expected", usual)
	}
	if s := w.feed(6*time.Hour, 2*time.Minute, Attempt{}); s.SlowSpray {
		t.Errorf("six hours after the end: %+v", s)
	}
}

// TestNoSlowSpray: denials that are none, however many networks they come from.
func TestNoSlowSpray(t *testing.T) {
	for name, a := range map[string]Attempt{
		"old passwords that clients have stored":       {Former: true},
		"the password that worked, during a fault":     {Worked: true},
		"from a network the account was accepted from": {Usual: true},
		"by known users": {Known: true},
	} {
		if s := newSprayTest().feed(4*time.Hour, 7*time.Second, a); s.SlowSpray {
			t.Errorf("%s: %+v", name, s)
		}
	}
	w := newSprayTest()
	for range 4 * 360 {
		w.feed(tick, time.Hour, Attempt{})
		for i := range uint32(50) {
			a := Attempt{Outcome: Denied}
			a.Source, a.Network = blocks(1<<20+i, 1)
			w.Attempt(w.now, a)
		}
		if w.detector.hourly.slowSpray {
			t.Fatal("50 networks with many attempts each are a slow spray")
		}
	}
}

// TestAttackIsNoSlowSpray: an attack is reported as such alone, also after its end.
func TestAttackIsNoSlowSpray(t *testing.T) {
	w := newSprayTest()
	for range 3 * 60 {
		if s := w.feed(time.Minute, 500*time.Millisecond, Attempt{}); s.SlowSpray {
			t.Fatalf("during the attack: %+v", s)
		}
	}
	if !w.detector.attack.on {
		t.Fatal("no attack")
	}
	for range 4 * 60 {
		if s := w.feed(time.Minute, 2*time.Minute, Attempt{}); s.SlowSpray {
			t.Fatalf("after the attack: %+v", s)
		}
	}
}

// TestRelearnSlowSpray: after a false alarm the same traffic is usual.
func TestRelearnSlowSpray(t *testing.T) {
	w := newSprayTest()
	if s := w.feed(2*time.Hour, 7*time.Second, Attempt{}); !s.SlowSpray {
		t.Fatalf("no alarm: %+v", s)
	}
	w.Relearn(w.now)
	if s := w.feed(4*time.Hour, 7*time.Second, Attempt{}); s.SlowSpray {
		t.Errorf("again: %+v", s)
	}
}

// TestNetworkCountsOncePerHour: the first suspect counts, the fourth takes it back, and so for the hour after.
func TestNetworkCountsOncePerHour(t *testing.T) {
	s := newSlowSpray()
	for i, want := range []float64{1, 0, 0, -1, 0, 0} {
		if got := s.count(monday, 0); got != want {
			t.Errorf("suspect %d: got %v, want %v", i, got, want)
		}
	}
	for hours, want := range map[int]float64{1: 0, 2: 1, 3: 1} {
		c := s
		c.cells = append([]uint16(nil), s.cells...)
		if got := c.count(monday.Add(time.Duration(hours)*time.Hour), 0); got != want {
			t.Errorf("%d h later: got %v, want %v", hours, got, want)
		}
	}
}

// TestTimeWithoutTicksIsNeutral: a machine that was suspended saw neither quiet nor a spray.
func TestTimeWithoutTicksIsNeutral(t *testing.T) {
	w := newSprayTest()
	for _, pause := range []time.Duration{20 * time.Minute, 5 * time.Hour, 40 * 24 * time.Hour} {
		w.now = w.now.Add(pause)
		if s := w.feed(time.Hour, 2*time.Minute, Attempt{}); s.SlowSpray {
			t.Errorf("after %v: %+v", pause, s)
		}
		if found, usual, _ := w.spray.today(); found < 0.9*usual || found > 1.1*usual {
			t.Errorf("after %v: %.1f of %.1f networks", pause, found, usual)
		}
	}
	w.Tick(time.Time{})
}
