//go:build !race

package learn

import (
	"math/rand/v2"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/watch"
)

// TestSimulationFirstMinuteAfterLearning: with two weeks of a log the reserve is enforced, all users are known, and an attack at
// once is an alert after minutes.
func TestSimulationFirstMinuteAfterLearning(t *testing.T) {
	const rate = 2
	o := options()
	r := replayed(t, newSite(15, rate).Next, o)
	l, w := newGateway(t, r, o)
	if s := l.Stats(now); s.Known != users || !s.Learned {
		t.Errorf("got %+v, want %d accounts and the reserve", s, users)
	}
	for i := range users {
		e := userEvent(now, i)
		if k := l.Ask(now, limiter.Attempt{Addr: e.Addr, Account: e.Account}); !k.Verdict().Known {
			t.Fatalf("user %d is not known", i)
		}
	}
	if week := w.Learned(now); week < .99 {
		t.Errorf("learned %.2f of the week", week)
	}
	if after := alertAfter(w, rate, 9); after > 5*time.Minute {
		t.Errorf("alert after %v, want 5 min", after)
	}
	s := r.Summary
	if s.Accounts != users || s.Networks != users || s.Accepted < 1e6 || s.Denied < 1e4 || s.Attack != 0 || !s.Reserve || s.Old+s.Late+s.Exempt != 0 {
		t.Errorf("got the summary %+v", s)
	}
}

// TestSimulationAttackInTheLogIsNotLearned: one of two hours, ten times normal, changes neither what is usual nor who is known.
func TestSimulationAttackInTheLogIsNotLearned(t *testing.T) {
	const rate = 2
	o := options()
	attacked := newSite(15, rate)
	attacked.attack = now.AddDate(0, 0, -7) // at this time of the week
	r := replayed(t, attacked.Next, o)
	if r.Summary.Attack < 100*time.Minute || r.Summary.Attack > 4*time.Hour {
		t.Errorf("saw an attack of %v, want two hours and the half hour until it is over", r.Summary.Attack)
	}
	l, w := newGateway(t, r, o)
	if s := l.Stats(now); s.Known != users {
		t.Errorf("%d accounts are known, want %d", s.Known, users)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		if e := denied(now, random); !e.Addr.IsValid() {
			t.Fatal(e)
		} else if source, network := l.Near(now, e.Addr, e.Account); source || network {
			t.Fatal("an attacker is known")
		}
	}
	if after := alertAfter(w, rate, 9); after > 5*time.Minute {
		t.Errorf("the same attack a week later: alert after %v, want 5 min", after)
	}
}

// alertAfter plays normal traffic to w for five minutes and then, in addition, times as many denied strangers. It returns
// how long after that there is an alert, or an hour if there is none.
func alertAfter(w *watch.Watch, rate, times float64) time.Duration {
	s := &site{at: now, end: now.Add(2 * time.Hour), rate: rate, random: rand.New(rand.NewPCG(3, 4))}
	begin, next := now.Add(5*time.Minute), now
	for at := now; at.Before(begin.Add(time.Hour)); {
		e, _ := s.Next()
		for ; at.Before(e.At); at = at.Add(time.Second) {
			if r := w.Tick(at); r.Ticked && r.State.Attacked() {
				return at.Sub(begin)
			}
			for next = maxTime(next, begin); next.Before(at); next = next.Add(time.Duration(float64(time.Second) / (times * rate))) {
				report(w, denied(next, s.random))
			}
		}
		report(w, e)
	}
	return time.Hour
}
