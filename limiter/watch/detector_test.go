package watch

import (
	"math"
	"testing"
	"time"
)

// A detectorTest is a detector that expects the same rates at any time.
type detectorTest struct {
	*testing.T
	detector *detector
	now      time.Time
}

// usual is the tick it expects: 20 logins a second, 4 suspects in 10 s from as many networks.
var usual = observation{
	rates: rates{200, 4, 4, 6, 190}, raw: 4,
	known: Outcomes{Accepted: 188, Denied: 2}, stranger: Outcomes{Accepted: 6, Denied: 4}, opened: 194, closed: 194,
}

func newDetectorTest(t *testing.T) *detectorTest {
	d := newDetector()
	d.assume(usual.rates)
	d.suppressors.open = 10_000
	b := &detectorTest{T: t, detector: d, now: monday}
	b.feed(usual, time.Hour)
	return b
}

// feed evaluates the same tick for some time.
func (b *detectorTest) feed(o observation, lasts time.Duration) State {
	for end := b.now.Add(lasts); b.now.Before(end); {
		b.now = b.now.Add(tick)
		o.denied = o.known.Denied
		u := Users{Good: o.known.Accepted, Denied: o.known.Denied, Fault: o.known.Fault, Limited: o.known.Refused()}
		b.detector.tick(b.now, o, u)
	}
	return b.detector.state(b.now)
}

// with returns the usual tick with a change.
func with(change func(*observation)) observation {
	o := usual
	change(&o)
	return o
}

// strangers returns the usual tick with n more suspects, each from a network of its own.
func strangers(n float64) observation {
	return with(func(o *observation) {
		o.rates[ofLogins] += n
		o.rates[ofSuspects] += n
		o.rates[ofNetworks] += n
		o.raw += n
		o.stranger.Denied += int(n)
	})
}

// TestClasses: the observations that lead to each class.
func TestClasses(t *testing.T) {
	fault := with(func(o *observation) { o.known = Outcomes{Accepted: 100, Fault: 90} })
	authFault := with(func(o *observation) { // strangers with the right password are denied as well
		o.known = Outcomes{Denied: 190}
		o.stranger = Outcomes{Denied: 10}
		o.rates[ofSuspects], o.rates[ofNetworks], o.raw = 10, 10, 10
	})
	one := with(func(o *observation) { o.raw, o.rates[ofSuspects] = 104, 5 })
	lost := with(func(o *observation) { o.closed = 5000 })
	back := with(func(o *observation) { o.known.Accepted, o.rates[ofKnown] = 2000, 2000 })
	limited := with(func(o *observation) { o.known = Outcomes{Accepted: 100, Shed: 90} })
	hungUp := with(func(o *observation) {
		o.unanswered.capped, o.unanswered.raw, o.unanswered.networks = 100, 100, 100
	})
	few := with(func(o *observation) { o.unanswered.capped, o.unanswered.raw, o.unanswered.networks = 9, 9, 9 })
	storm := with(func(o *observation) {
		o.known.Accepted, o.rates[ofKnown] = 4000, 4000
		o.unanswered.capped, o.unanswered.raw, o.unanswered.networks = 100, 100, 100
	})
	more := with(func(o *observation) { o.rates[ofLogins], o.rates[ofKnown] = 300, 290 })
	for _, c := range []struct {
		name  string
		s     observation
		lasts time.Duration
		want  Class
		tight bool
	}{
		{"nothing", usual, time.Hour, ClassNormal, false},
		{"12 strangers a tick", strangers(12), 5 * time.Minute, ClassNotice, true},
		{"a few less than a notice", strangers(8), time.Hour, ClassNormal, false},
		{"30 strangers a tick", strangers(30), 5 * time.Minute, ClassAttack, true},
		{"many strangers for two ticks", strangers(1000), 20 * time.Second, ClassNormal, false},
		{"many strangers for five ticks", strangers(1000), 50 * time.Second, ClassAttack, true},
		{"backends that fail", fault, time.Minute, ClassBackendFault, false},
		{"the known denied", authFault, 10 * time.Minute, ClassAuthFault, false},
		{"one source", one, 5 * time.Minute, ClassSingleSource, false},
		{"sessions lost", lost, tick, ClassStorm, false},
		{"all reconnect", back, time.Minute, ClassStorm, false},
		{"known users refused", limited, 5 * time.Minute, ClassImpaired, false},
		{"strangers hang up", hungUp, 5 * time.Minute, ClassAttack, true},
		{"a few strangers hang up", few, time.Hour, ClassNormal, false},
		{"strangers hang up while all reconnect", storm, 5 * time.Minute, ClassStorm, false},
		{"half as many logins more, for hours", more, 5 * time.Hour, ClassGrowth, false},
	} {
		s := newDetectorTest(t).feed(c.s, c.lasts)
		if s.Class != c.want || s.Tighten != c.tight {
			t.Errorf("%s: %s, tighten %v (excess %.3f, score %.1f)", c.name, s.Class, s.Tighten, s.Excess, s.Score)
		}
	}
}

// TestAttackOutranksFaults: the class is attack when backends fail, too, whichever begins first.
func TestAttackOutranksFaults(t *testing.T) {
	failing := strangers(60)
	failing.known = Outcomes{Accepted: 20, Fault: 170}
	b := newDetectorTest(t)
	b.feed(strangers(60), 10*time.Minute)
	if s := b.feed(failing, time.Hour); s.Class != ClassAttack || !s.BackendFault || !s.Impaired {
		t.Errorf("backends fail later: %+v", s)
	}
	if s := b.feed(usual, 29*time.Minute); s.Class != ClassAttack {
		t.Errorf("29 min after: %s", s.Class)
	}
	if s := b.feed(usual, 5*time.Minute); s.Class != ClassNormal || s.Tighten {
		t.Errorf("34 min after: %+v", s)
	}
	if s := newDetectorTest(t).feed(failing, 2*time.Minute); s.Class != ClassAttack {
		t.Errorf("both at once: %s", s.Class)
	}
}

// TestOnset: the onset is right to within some ticks, although the alarm is raised later.
func TestOnset(t *testing.T) {
	b := newDetectorTest(t)
	began := b.now
	s := b.feed(strangers(30), 10*time.Minute)
	if late := s.Onset.Sub(began); late < -time.Minute || late > 20*time.Second {
		t.Errorf("onset %v after the beginning", late)
	}
}

// TestFrozen: nothing is learned for hours of an attack or a fault, and for a day of a notice.
func TestFrozen(t *testing.T) {
	fault := with(func(o *observation) { o.known, o.rates = Outcomes{Accepted: 10, Fault: 90}, rates{100, 0, 0, 0, 100} })
	for _, c := range []struct {
		name string
		s    observation
	}{{"attack", strangers(100)}, {"notice", strangers(12)}, {"fault", fault}} {
		b := newDetectorTest(t)
		before := b.detector.baseline.week
		s := b.feed(c.s, 20*time.Hour)
		changed := 0
		for i, r := range b.detector.baseline.week {
			for k := range r {
				if math.Abs(r[k]-before[i][k]) > 0.3 {
					changed++
					break
				}
			}
		}
		if changed > 1 || !s.Frozen { // the quarter in which it began
			t.Errorf("%s: %d quarters changed, frozen %v", c.name, changed, s.Frozen)
		}
	}
	b := newDetectorTest(t)
	if s := b.feed(strangers(12), 48*time.Hour); s.Frozen {
		t.Error("frozen after two days of a notice")
	}
	if s := b.feed(strangers(100), 48*time.Hour); !s.Frozen || s.Class != ClassAttack {
		t.Error("not frozen after two days of an attack")
	}
}

// TestRelearn: after relearning, the present rates are usual.
func TestRelearn(t *testing.T) {
	b := newDetectorTest(t)
	if s := b.feed(strangers(100), time.Hour); s.Class != ClassAttack {
		t.Fatal(s.Class)
	}
	b.detector.relearn()
	if s := b.feed(strangers(100), time.Hour); s.Class != ClassNormal || s.Frozen {
		t.Errorf("%+v", s)
	}
	if s := b.feed(strangers(150), time.Hour); s.Class != ClassAttack {
		t.Errorf("half as much again: %+v", s)
	}
}

// TestNothingAcceptedOnTheFirstDay: if everybody is denied, that is the password database, and no attack.
func TestNothingAcceptedOnTheFirstDay(t *testing.T) {
	w, first := New(Config{}), Class("")
	for at := monday; at.Before(monday.Add(20 * time.Minute)); at = at.Add(tick) {
		for i := range uint32(5) {
			a := Attempt{Outcome: Denied, Credential: uint64(at.Unix()) + uint64(i)}
			a.Source, a.Network = blocks(uint32(at.Unix())*8+i, 1)
			w.Attempt(at, a)
		}
		s := w.Tick(at).State
		if first == "" && s.Class != ClassLearning {
			if first = s.Class; s.DeniedShare < 0.25 || at.Sub(monday) > 6*time.Minute {
				t.Errorf("after %v: %+v", at.Sub(monday), s)
			}
		}
		if s.Attacked() {
			t.Fatalf("an attack after %v", at.Sub(monday))
		}
	}
	if first != ClassAuthFault {
		t.Errorf("got %q, want %s", first, ClassAuthFault)
	}
}

// TestFirstDay: while learning, only what is an attack by any measure is one.
func TestFirstDay(t *testing.T) {
	for _, c := range []struct {
		name string
		s    observation
		want Class
	}{
		{"nothing", usual, ClassLearning},
		{"more than a third of all logins", strangers(70), ClassLearning},
		{"half as many as all logins", strangers(100), ClassAttack},
	} {
		b := &detectorTest{T: t, detector: newDetector(), now: monday}
		if s := b.feed(c.s, 20*time.Minute); s.Class != ClassLearning {
			t.Errorf("%s in the first half-hour: %s", c.name, s.Class)
		}
		b = &detectorTest{T: t, detector: newDetector(), now: monday}
		if s := b.feed(usual, 3*time.Hour); s.Class != ClassLearning || s.Learned == 0 {
			t.Errorf("after three hours: %+v", s)
		}
		if s := b.feed(c.s, 5*time.Minute); s.Class != c.want {
			t.Errorf("%s: %s", c.name, s.Class)
		}
		if s := b.feed(usual, time.Hour); s.Class != ClassLearning {
			t.Errorf("%s, an hour after: %s", c.name, s.Class)
		}
	}
	b := &detectorTest{T: t, detector: newDetector(), now: monday}
	if s := b.feed(usual, 25*time.Hour); s.Class != ClassNormal || s.Learned > 0.2 {
		t.Errorf("the second day: %+v", s)
	}
}

// TestSuspectsBeyondTheAcceptedAreNotLearned: neither on the first day nor later, unless a person says so.
func TestSuspectsBeyondTheAcceptedAreNotLearned(t *testing.T) {
	most := with(func(o *observation) {
		o.rates[ofSuspects], o.rates[ofNetworks] = 500, 500
		o.rates[ofLogins] = 700
	})
	b := newDetectorTest(t)
	if got := b.detector.learnable(most.rates); got[ofSuspects] != 194 || got[ofNetworks] != 194 || got[ofLogins] != 394 {
		t.Errorf("learned: %v", got)
	}
	b.detector.assume(most.rates)
	b.feed(usual, tick)
	if got := b.detector.learnable(most.rates); got[ofSuspects] < 400 {
		t.Errorf("usual: %v", got)
	}
	b = &detectorTest{T: t, detector: newDetector(), now: monday}
	if s := b.feed(strangers(500), 5*time.Minute); s.Class != ClassLearning {
		t.Errorf("without networks: %s", s.Class)
	}
	attack := strangers(500)
	for i := range attack.places {
		attack.places[i] = 1<<32 - 1
	}
	b = &detectorTest{T: t, detector: newDetector(), now: monday}
	if s := b.feed(attack, 5*time.Minute); s.Class != ClassAttack || !s.Frozen {
		t.Errorf("from the start: %+v", s)
	}
	b.detector.relearn()
	if s := b.feed(attack, 3*time.Hour); s.Class != ClassLearning {
		t.Errorf("after a person said that it is usual: %+v", s)
	}
}
