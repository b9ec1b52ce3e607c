package bench

import (
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/standin"
)

// value returns a figure of s.
func (s *Sample) value(t *testing.T, name string) float64 {
	t.Helper()
	for _, f := range s.figures {
		if f.name == name {
			return f.value
		}
	}
	t.Errorf("no figure %q", name)
	return 0
}

// serverTLS is what a porter shows clients.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return cert.Server()
}

// holdAt plays the scenario with ten attackers at p.
func holdAt(t *testing.T, p *porter) *Sample {
	t.Helper()
	p.tls = serverTLS(t)
	o, s := Defaults(), &Sample{}
	o.Held = 10
	synctest.Test(t, func(t *testing.T) {
		if err := holdAttackers(t.Context(), p.target(), s, &o); err != nil {
			t.Error(err)
		}
	})
	return s
}

// guesser reports whether v is one of the attackers, who guess.
func guesser(v visit) bool { return strings.HasPrefix(v.secret, "guess") }

// Attackers who are made to wait are there to be weighed, and others get in at once.
func TestTarpitHolds(t *testing.T) {
	s := holdAt(t, &porter{slow: guesser, takes: time.Minute, answer: right})
	if there, waiting := s.value(t, "attackers still connected"), s.value(t, "of them, made to wait"); there != 10 || waiting != 10 {
		t.Errorf("%v attackers, %v of them wait", there, waiting)
	}
	for _, who := range []string{"known", "newcomers"} {
		if s.value(t, who+", accepted") != 100 || s.value(t, who+", 99 %") > 1000 {
			t.Errorf("%s: %+v", who, s.figures)
		}
	}
}

// Attackers who are answered at once make all their guesses and stay.
func TestTarpitOfAnObligingTarget(t *testing.T) {
	p := &porter{answer: right}
	s := holdAt(t, p)
	if there, waiting := s.value(t, "attackers still connected"), s.value(t, "of them, made to wait"); there != 10 || waiting != 0 {
		t.Errorf("%v attackers, %v of them wait", there, waiting)
	}
	made := map[string]int{}
	for _, v := range p.visits {
		if guesser(v) {
			made[v.addr.String()]++
		}
	}
	if len(made) != 10 {
		t.Errorf("attackers came from %d addresses", len(made))
	}
	for addr, n := range made {
		if n != guesses {
			t.Errorf("%s made %d guesses", addr, n)
		}
	}
}

// Those who are known have logged in before the first attacker came, newcomers have not.
func TestTarpitTellsTheKnownFromNewcomers(t *testing.T) {
	var mu sync.Mutex
	known, attacked := map[string]bool{}, false
	s := holdAt(t, &porter{answer: func(v visit) string {
		mu.Lock()
		defer mu.Unlock()
		attacked = attacked || guesser(v)
		if !attacked {
			known[v.account] = true
		} else if !guesser(v) && !known[v.account] {
			return "a NO [UNAVAILABLE] later\r\n"
		}
		return right(v)
	}})
	if s.value(t, "known, accepted") != 100 || s.value(t, "newcomers, accepted") != 0 {
		t.Errorf("%+v", s.figures)
	}
}

// Attackers who are sent away are not there any more, and whoever does not get in past them is not said to.
func TestTarpitOfATargetThatSendsEverybodyAway(t *testing.T) {
	begun := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as every bubble
	s := holdAt(t, &porter{answer: func(v visit) string {
		if !guesser(v) && v.at.Sub(begun) < time.Second { // those for whom a target sets itself up
			return right(v)
		}
		return "a NO [UNAVAILABLE] later\r\n"
	}})
	if there := s.value(t, "attackers still connected"); there != 0 {
		t.Errorf("%v attackers are still there", there)
	}
	if s.value(t, "known, accepted") != 0 || s.value(t, "newcomers, accepted") != 0 || len(s.problems) != 2 {
		t.Errorf("%+v %q", s.figures, s.problems)
	}
}
