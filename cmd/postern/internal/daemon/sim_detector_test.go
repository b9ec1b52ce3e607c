//go:build !race

package daemon

import (
	"fmt"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/watch"
)

// classes returns how many ticks each class has in states, and when a class other than normal, learning and notice was
// first reported.
func classes(states []watch.State) (ticks map[watch.Class]int, first watch.Class, after time.Duration) {
	ticks = map[watch.Class]int{}
	for i, s := range states {
		ticks[s.Class]++
		if first == "" && s.Class != watch.ClassNormal && s.Class != watch.ClassLearning && s.Class != watch.ClassNotice && s.Class != watch.ClassGrowth {
			first, after = s.Class, time.Duration(i+1)*10*time.Second
		}
	}
	return ticks, first, after
}

// TestSimulationFirstMinutes: an attack that begins with a new gateway is one.
func TestSimulationFirstMinutes(t *testing.T) {
	t.Parallel()
	s := newSimulatedSite(t, 1, 600, 0.2)
	s.every(time.Second, func() { s.guesses(33, 1<<22, 1<<20) })
	ticks, first, after := classes(s.run(30 * time.Minute))
	t.Logf("%v, first %s after %v", ticks, first, after)
	if first != watch.ClassAttack || after > 5*time.Minute {
		t.Errorf("got %s after %v, want an attack within 5 min", first, after)
	}
}

// TestSimulationPasswordFault: a password database that denies right passwords is reported as that, and not as an attack,
// however many users it denies and however many of them are at new addresses.
func TestSimulationPasswordFault(t *testing.T) {
	t.Parallel()
	for _, mobile := range []float64{0, 0.1, 1. / 3, 0.5} {
		t.Run(fmt.Sprintf("mobile %.0f", 100*mobile), func(t *testing.T) {
			t.Parallel()
			s := newSimulatedSite(t, 2, 1500, mobile)
			s.run(25 * time.Hour)
			for _, denied := range []float64{0.1, 0.2, 0.6, 1} {
				s.fault = func(user int) bool { return float64(user) < denied*1500 }
				ticks, first, after := classes(s.more(time.Hour))
				s.fault = func(int) bool { return false }
				later, _, _ := classes(s.more(2 * time.Hour))
				t.Logf("%.0f %% denied, %.0f %% mobile: %v, first %s after %v, then %v", 100*denied, 100*mobile, ticks, first, after, later)
				if first != watch.ClassAuthFault || ticks[watch.ClassAttack]+later[watch.ClassAttack] > 0 {
					t.Errorf("%.0f %% denied, %.0f %% mobile: got first %s, and an attack for %d ticks", 100*denied, 100*mobile, first, ticks[watch.ClassAttack])
				}
			}
		})
	}
}

// TestSimulationForcedPasswordChange: all users must change their password within a working day, and half of their
// programs retry with the old one. Nobody attacks, and nothing is at fault, also after a restart of the gateway.
func TestSimulationForcedPasswordChange(t *testing.T) {
	t.Parallel()
	s := newSimulatedSite(t, 3, 1500, 0.2)
	s.run(25 * time.Hour)
	for user := range s.users {
		s.after(time.Duration(s.rand.Int64N(int64(8*time.Hour))), func() { s.changePassword(user) })
	}
	states := s.more(7 * time.Hour)
	s.restart(t)
	ticks, first, after := classes(append(states, s.more(7*time.Hour)...))
	t.Logf("%v, first %s after %v", ticks, first, after)
	if first != "" {
		t.Errorf("got %s after %v", first, after)
	}
}

// TestSimulationStolenAccounts: a fifth of all accounts log in from elsewhere three times a minute, with the right password.
func TestSimulationStolenAccounts(t *testing.T) {
	t.Parallel()
	s := newSimulatedSite(t, 4, 1500, 0.2)
	s.run(30 * time.Hour)
	for user := range 300 {
		addr := s.address(1<<21+uint32(user), 1)
		var use func()
		use = func() {
			s.logsIn(addr, user, secretOf(user, 0), true, func(limiter.Outcome) { s.after(20*time.Second, use) })
		}
		s.after(time.Duration(s.rand.Int64N(int64(time.Minute))), use)
	}
	ticks, first, after := classes(s.more(3 * time.Hour))
	t.Logf("%v, first %s after %v", ticks, first, after)
	if first != watch.ClassAccountAbuse {
		t.Errorf("got %s after %v, want account_abuse", first, after)
	}
}
