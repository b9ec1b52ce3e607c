package limiter_test

import (
	"testing"
	"time"

	"postern/limiter/crowd"
)

// The gate is restarted in the middle of an attack, with a snapshot that is a minute old: those who belong do not notice.
func TestSimulationOfARestart(t *testing.T) {
	t.Parallel()
	old := newLimiter(t)
	c := crowd.New(1, crowd.Normal, attacked, crowd.Steady(crowd.Wide, 0, 10))
	learn(old, c.Residents())
	s := newSite(old, c, attacked)
	s.run(attacked.Add(time.Minute))
	snapshot := old.Snapshot(s.now)
	s.run(attacked.Add(2 * time.Minute))

	l := newLimiter(t)
	if err := l.Restore(s.now, snapshot); err != nil {
		t.Fatal(err)
	}
	s = newSite(l, c, s.now)
	s.tally.from, s.tally.until = s.now, s.now.Add(2*time.Minute)
	s.run(s.tally.until.Add(tail))
	s.tally.require(t, "wide")
}

// Nobody is locked out by a gate that knows nobody.
func TestSimulationOfTheFirstDay(t *testing.T) {
	t.Parallel()
	s := newSite(newLimiter(t), crowd.New(1, crowd.Normal, opening), opening)
	s.tally.from, s.tally.until = opening, opening.Add(15*time.Minute)
	s.run(s.tally.until.Add(tail))
	s.tally.require(t, "none")
}

// The attack comes on the first day, when everybody has been here once and the reserve does not count yet.
func TestSimulationOfAnAttackOnTheFirstDay(t *testing.T) {
	t.Parallel()
	s := newSite(newLimiter(t), crowd.New(1, crowd.Normal, opening, crowd.Steady(crowd.Wide, 10*time.Minute, 10)), opening)
	s.tally.from, s.tally.until = opening.Add(10*time.Minute), opening.Add(13*time.Minute)
	s.run(s.tally.until.Add(tail))
	if known := s.tally.known(); known.success() < min(holds.known, 99.9) {
		t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.success(), known.wait(99), known.refusals)
	}
}

// The gate opens for the first time in the middle of the incident: everybody is a stranger. Those who belong come in
// one by one, and once they have been in they stay.
func TestSimulationOfAnOpeningUnderAttack(t *testing.T) {
	t.Parallel()
	s := newSite(newLimiter(t), crowd.New(1, crowd.Normal, opening, crowd.Steady(crowd.Wide, 0, 4.27)), opening)
	s.run(opening.Add(20 * time.Minute))
	s.tally.from, s.tally.until = s.now, s.now.Add(5*time.Minute)
	s.run(s.tally.until.Add(tail))
	if known := s.tally.known(); known.success() < min(holds.known, 99) {
		t.Errorf("after 20 minutes %.2f %% of those who belong are accepted, refused by %v", known.success(), known.refusals)
	}
}
