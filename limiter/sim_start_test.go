package limiter_test

import (
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// beginSlowly begins a test that takes too long under the race detector.
func beginSlowly(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("plays without the race detector")
	}
	t.Parallel()
}

// The gate is restarted in the middle of an attack, with a snapshot that is a minute old: those who belong do not notice.
func TestSimulationOfARestart(t *testing.T) {
	beginSlowly(t)
	old := newLimiter(t)
	c := traffic.New(1, traffic.Normal, attacked, traffic.Steady(traffic.Wide, 0, 10))
	learn(old, c.KnownLogins())
	s := newSite(old, c, attacked)
	s.run(attacked.Add(time.Minute))
	snapshot := old.Snapshot(s.now)
	s.run(attacked.Add(2 * time.Minute))

	l := newLimiter(t)
	if err := l.Restore(s.now, snapshot); err != nil {
		t.Fatal(err)
	}
	newSite(l, c, s.now).watch(2*time.Minute).require(t, "wide")
}

// Nobody is locked out by a gate that knows nobody.
func TestSimulationOfTheFirstDay(t *testing.T) {
	beginSlowly(t)
	s := newSite(newLimiter(t), traffic.New(1, traffic.Normal, opening), opening)
	s.watch(15*time.Minute).require(t, "none")
}

// The attack comes on the first day, when everybody has been here once and the reserve does not count yet.
func TestSimulationOfAnAttackOnTheFirstDay(t *testing.T) {
	beginSlowly(t)
	s := newSite(newLimiter(t), traffic.New(1, traffic.Normal, opening, traffic.Steady(traffic.Wide, 10*time.Minute, 10)), opening)
	s.run(opening.Add(10 * time.Minute))
	if known := s.watch(2 * time.Minute).known(); known.success() < 99.9 || known.wait(99) > time.Second {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.success(), known.wait(99), known.refusals)
	}
}

// The gate opens for the first time in the middle of the incident: everybody is a stranger. Those who belong come in
// one by one, and once they have been in they stay.
func TestSimulationOfAnOpeningUnderAttack(t *testing.T) {
	beginSlowly(t)
	s := newSite(newLimiter(t), traffic.New(1, traffic.Normal, opening, traffic.Steady(traffic.Wide, 0, 4.27)), opening)
	s.run(opening.Add(15 * time.Minute))
	if known := s.watch(3 * time.Minute).known(); known.success() < 99 {
		t.Errorf("after a quarter of an hour %.2f %% of those who belong are accepted, refused by %v", known.success(), known.refusals)
	}
}

// While one account is attacked from everywhere, strangers cannot try it, and its owner does not notice, wherever he is.
func TestSimulationOfTheOwnerOfATarget(t *testing.T) {
	t.Parallel()
	l, c := newLimiter(t), traffic.New(1, traffic.Normal, attacked, traffic.Steady(traffic.Target, 0, 30))
	learn(l, c.KnownLogins())
	s := newSite(l, c, attacked)
	s.run(attacked.Add(20 * time.Second))
	owner := c.KnownLogins()[0] // the first phone is the target
	hotel := netip.MustParseAddr("203.0.113.5")
	for _, tc := range []struct {
		who    string
		addr   netip.Addr
		secret string
		want   limiter.Verdict
	}{
		{"at home", owner.Addr, owner.Secret, limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true, Near: true}},
		{"on a journey", hotel, owner.Secret, limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true}},
		{"at home, mistyping", owner.Addr, "typo", limiter.Verdict{Action: limiter.Pass, Rule: limiter.RuleNone, Known: true, Near: true}},
		{"somebody else", hotel, "guess", limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}},
	} {
		k := l.Ask(s.now, limiter.Attempt{Addr: tc.addr, Account: owner.Account, Credential: l.Credential(owner.Account, []byte(tc.secret))})
		v := k.Verdict()
		if v.Action == limiter.Pass {
			v = k.Enter(s.now, nil)
		}
		if v != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.who, v, tc.want)
		}
		k.Settle(s.now, limiter.Void)
	}
}
