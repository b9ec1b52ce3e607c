//go:build !race

package limiter_test

import (
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A restart during an attack, with a snapshot that is a minute old, does not affect the known.
func TestSimulationRestart(t *testing.T) {
	t.Parallel()
	old := newLimiter(t)
	c := traffic.New(1, traffic.Normal, attackStart, traffic.Steady(traffic.Wide, 0, 10))
	acceptAll(old, c.KnownLogins())
	s := newSimulation(old, c, attackStart)
	s.run(attackStart.Add(time.Minute))
	snapshot := old.Snapshot(s.now)
	s.run(attackStart.Add(2 * time.Minute))

	l := newLimiter(t)
	if err := l.Restore(s.now, snapshot); err != nil {
		t.Fatal(err)
	}
	newSimulation(l, c, s.now).measure(2*time.Minute).require(t, "wide")
}

// An empty known table locks no user out.
func TestSimulationFirstDay(t *testing.T) {
	t.Parallel()
	s := newSimulation(newLimiter(t), traffic.New(1, traffic.Normal, firstStart), firstStart)
	s.measure(15*time.Minute).require(t, "none")
}

// An attack on the first day, when every user has logged in once and the reserve does not apply yet.
func TestSimulationAttackOnFirstDay(t *testing.T) {
	t.Parallel()
	s := newSimulation(newLimiter(t), traffic.New(1, traffic.Normal, firstStart, traffic.Steady(traffic.Wide, 10*time.Minute, 10)), firstStart)
	s.run(firstStart.Add(10 * time.Minute))
	if known := s.measure(2 * time.Minute).knownClients(); known.acceptedPercent() < 99.9 || known.wait(99) > time.Second {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.acceptedPercent(), known.wait(99), known.refusals)
	}
}

// The first start happens during the incident, so every user is a stranger. Users get in one by one and are known from
// then on.
func TestSimulationFirstStartUnderAttack(t *testing.T) {
	t.Parallel()
	s := newSimulation(newLimiter(t), traffic.New(1, traffic.Normal, firstStart, traffic.Steady(traffic.Wide, 0, 4.27)), firstStart)
	s.run(firstStart.Add(15 * time.Minute))
	if known := s.measure(3 * time.Minute).knownClients(); known.acceptedPercent() < 99 {
		t.Errorf("after 15 minutes %.2f %% of the users are accepted, want 99 %%; refused by %v", known.acceptedPercent(), known.refusals)
	}
}

// patientUsers try up to three times.
var patientUsers = map[traffic.Class]int{traffic.Phone: 3, traffic.Office: 3, traffic.Traveller: 3}

// Users who try up to three times get in although the first start, with an empty table, is during an attack.
func TestSimulationEmptyStartUnderAttack(t *testing.T) {
	t.Parallel()
	s := newSimulation(newLimiter(t), traffic.New(1, traffic.Normal, firstStart, traffic.Steady(traffic.Wide, 0, 10)), firstStart)
	s.tries = patientUsers
	s.requireUsers(t, 0, time.Minute, 90)
	s.requireUsers(t, 5*time.Minute, time.Minute, 97)
}

// The same at a small site, for longer: users who were refused before are not shut out.
func TestSimulationEmptyStartUnderLongAttack(t *testing.T) {
	t.Parallel()
	a := traffic.Steady(traffic.Wide, 0, 10)
	a.Addresses = 60 * 9 * smallNormal
	s := newSimulation(newLimiterOf(t, smallPolicy()), traffic.New(1, smallNormal, firstStart, a), firstStart)
	s.tries = patientUsers
	s.backend.small()
	s.requireUsers(t, 0, time.Minute, 90)
	s.requireUsers(t, 5*time.Minute, 30*time.Minute, 97)
}

// requireUsers measures the users for d from the given time after the start on, and fails if a smaller percentage of
// them is accepted.
func (s *simulation) requireUsers(t *testing.T, after, d time.Duration, want float64) {
	t.Helper()
	s.run(firstStart.Add(after))
	s.results = newResults()
	users := s.measure(d).knownClients()
	t.Logf("from %v for %v: %.1f %% accepted, %.1f %% at the first try", after, d, users.acceptedPercent(), percent(users.firstTry, users.clients))
	if users.acceptedPercent() < want {
		t.Errorf("from %v for %v %.1f %% of the users are accepted, want %v %%; refused by %v", after, d, users.acceptedPercent(), want, users.refusals)
	}
}

// While one account is attacked from everywhere, strangers cannot try it. Its owner can log in at home, and with a known
// device from anywhere. From elsewhere without one they are a stranger as the attackers are, who use up all looks.
func TestSimulationOwnerOfTargetedAccount(t *testing.T) {
	t.Parallel()
	l, c := newLimiter(t), traffic.New(1, traffic.Normal, attackStart, traffic.Steady(traffic.Target, 0, 30))
	acceptAll(l, c.KnownLogins())
	s := newSimulation(l, c, attackStart)
	s.run(attackStart.Add(20 * time.Second))
	owner := c.KnownLogins()[0] // the first phone is the target
	elsewhere := netip.MustParseAddr("203.0.113.5")
	k := l.Ask(s.now, limiter.Attempt{Addr: owner.Addr, Account: owner.Account, Device: 7})
	k.Settle(s.now, limiter.Accepted)
	for _, tc := range []struct {
		name   string
		addr   netip.Addr
		device limiter.Device
		secret string
		want   limiter.Verdict
	}{
		{"at home", owner.Addr, 0, owner.Secret, limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true, Near: true}},
		{"elsewhere", elsewhere, 0, owner.Secret, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}},
		{"elsewhere, from a known device", elsewhere, 7, owner.Secret, limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true, Near: true}},
		{"at home, mistyped", owner.Addr, 0, "typo", limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true, Near: true}},
		{"attacker", elsewhere, 0, "guess", limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}},
	} {
		k := l.Ask(s.now, limiter.Attempt{
			Addr: tc.addr, Account: owner.Account, Credential: l.Credential(owner.Account, []byte(tc.secret)), Device: tc.device, Resumed: tc.device != 0,
		})
		v := k.Verdict()
		if v.Action == limiter.Pass {
			v = k.Enter(s.now, nil)
		}
		if v != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, v, tc.want)
		}
		k.Settle(s.now, limiter.Void)
	}
}
