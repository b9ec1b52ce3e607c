package bench

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// runTarpit runs the scenario with ten attackers at p.
func runTarpit(t *testing.T, p *proxyHeaderServer) *sample {
	t.Helper()
	p.tls = serverTLS(t)
	o, s := Defaults(), &sample{}
	o.Held = 10
	synctest.Test(t, func(t *testing.T) {
		if err := measureTarpit(t.Context(), p.target(), s, &o); err != nil {
			t.Error(err)
		}
	})
	return s
}

// isAttacker reports whether l is a guess of an attacker.
func isAttacker(l seenLogin) bool { return strings.HasPrefix(l.secret, "guess") }

// Attackers wait and are measured, and users log in at once.
func TestTarpitMeasuresWaitingAttackers(t *testing.T) {
	s := runTarpit(t, &proxyHeaderServer{delayed: isAttacker, delay: time.Minute, answer: checkPassword})
	if connected, waiting := s.value(t, "attackers still connected"), s.value(t, "of them, made to wait"); connected != 10 || waiting != 10 {
		t.Errorf("%v attackers connected, %v of them wait", connected, waiting)
	}
	for _, who := range []string{"known", "newcomers"} {
		if s.value(t, who+", accepted") != 100 || s.value(t, who+", 99 %") > 1000 {
			t.Errorf("%s: %+v", who, s.figures)
		}
	}
}

// Attackers that get an answer at once make all their guesses and remain
// connected.
func TestTarpitWithoutDelay(t *testing.T) {
	p := &proxyHeaderServer{answer: checkPassword}
	s := runTarpit(t, p)
	if connected, waiting := s.value(t, "attackers still connected"), s.value(t, "of them, made to wait"); connected != 10 || waiting != 0 {
		t.Errorf("%v attackers connected, %v of them wait", connected, waiting)
	}
	count := map[string]int{}
	for _, l := range p.logins {
		if isAttacker(l) {
			count[l.addr.String()]++
		}
	}
	if len(count) != 10 {
		t.Errorf("got guesses from %d addresses, want 10", len(count))
	}
	for addr, n := range count {
		if n != guesses {
			t.Errorf("%s: got %d guesses, want %d", addr, n, guesses)
		}
	}
}

// Known users have logged in before the first attacker connects, newcomers have
// not.
func TestTarpitKnownUsersLogInFirst(t *testing.T) {
	var mu sync.Mutex
	known, attacked := map[string]bool{}, false
	s := runTarpit(t, &proxyHeaderServer{answer: func(l seenLogin) string {
		mu.Lock()
		defer mu.Unlock()
		attacked = attacked || isAttacker(l)
		if !attacked {
			known[l.account] = true
		} else if !isAttacker(l) && !known[l.account] {
			return refuseAll(l)
		}
		return checkPassword(l)
	}})
	if s.value(t, "known, accepted") != 100 || s.value(t, "newcomers, accepted") != 0 {
		t.Errorf("%+v", s.figures)
	}
}

// Attackers that are refused do not count as connected, and refused users do not
// count as accepted.
func TestTarpitOfTargetThatRefusesAll(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as in every synctest bubble
	s := runTarpit(t, &proxyHeaderServer{answer: func(l seenLogin) string {
		if !isAttacker(l) && l.at.Sub(start) < time.Second { // the warm-up
			return checkPassword(l)
		}
		return refuseAll(l)
	}})
	if connected := s.value(t, "attackers still connected"); connected != 0 {
		t.Errorf("got %v attackers connected, want none", connected)
	}
	if s.value(t, "known, accepted") != 0 || s.value(t, "newcomers, accepted") != 0 || len(s.problems) != 2 {
		t.Errorf("%+v %q", s.figures, s.problems)
	}
}
