package watch

import (
	"math"
	"testing"
	"time"
)

// A provenTest feeds proven with attempts of accounts.
type provenTest struct {
	proven
	now time.Time
}

// attempts adds an attempt of each account from first to last.
func (p *provenTest) attempts(first, last int, o Outcome, worked bool) {
	for account := first; account < last; account++ {
		a := hashedAttempt{Attempt: &Attempt{Outcome: o, Worked: worked, Credential: 1}, accountHash: uint64(account) * 0x9e3779b97f4a7c15}
		if a.proves() {
			p.attempt(p.now, &a)
		}
	}
}

// ticks ends n ticks.
func (p *provenTest) ticks(n int) (share float64, fault bool) {
	for range n {
		p.now = p.now.Add(tick)
		share, fault = p.tick()
	}
	return share, fault
}

// TestProvenDenials: denials of credentials that worked are a fault from 8 % and from 8 accounts on.
func TestProvenDenials(t *testing.T) {
	for _, c := range []struct {
		name             string
		accepted, denied int
		outcome          Outcome
		worked, want     bool
		share            float64
	}{
		{"none", 1000, 0, Denied, true, false, 0},
		{"a few", 1000, 40, Denied, true, false, 0.04},
		{"a tenth", 900, 100, Denied, true, true, 0.1},
		{"repeats", 900, 100, Repeat, true, true, 0.1},
		{"few accounts", 40, 6, Denied, true, false, 0.13},
		{"other credentials", 500, 500, Denied, false, false, 0},
		{"rejected by a rule", 500, 500, Rejected, true, false, 0},
		{"all", 0, 20000, Denied, true, true, 1},
	} {
		p := provenTest{now: monday}
		p.ticks(provenWindows[0])
		p.attempts(0, c.accepted, Accepted, true)
		for range 3 { // the same accounts again and again
			p.attempts(c.accepted, c.accepted+c.denied, c.outcome, c.worked)
		}
		if share, fault := p.ticks(1); fault != c.want || math.Abs(share-c.share) > 0.02 {
			t.Errorf("%s: got share %.3f, fault %v", c.name, share, fault)
		}
		if share, fault := p.ticks(40); share != 0 || fault {
			t.Errorf("%s, later: got share %.3f, fault %v", c.name, share, fault)
		}
	}
}

// TestChangedPasswords: accounts that are accepted with a new credential after a denial were changed. That is no fault,
// and more of them are expected.
func TestChangedPasswords(t *testing.T) {
	p := provenTest{now: monday}
	p.ticks(provenWindows[0])
	p.attempts(0, 800, Accepted, true)
	p.attempts(800, 950, Denied, true)
	p.attempts(800, 950, Accepted, false)
	p.attempts(1000, 1200, Accepted, false) // never denied: nothing was changed
	if share, fault := p.ticks(1); share > 0 || fault || math.Abs(p.changes-150) > 2 {
		t.Errorf("after the change: share %.3f, fault %v, %.0f changes", share, fault, p.changes)
	}
	p.attempts(1200, 1300, Denied, true)
	if share, fault := p.ticks(1); share > 0 || fault {
		t.Errorf("others follow: share %.3f, fault %v", share, fault)
	}
	p.attempts(1300, 1700, Denied, true)
	if share, fault := p.ticks(1); share < 0.2 || !fault {
		t.Errorf("a fault on the same day: share %.3f, fault %v", share, fault)
	}
}

// TestNoFaultInTheFirstMinute: at first, those who retry most often are most of those who are counted.
func TestNoFaultInTheFirstMinute(t *testing.T) {
	p := provenTest{now: monday}
	for i := range provenWindows[0] {
		p.attempts(0, 40, Denied, true)
		p.attempts(100+100*i, 200+100*i, Accepted, true)
		if share, fault := p.ticks(1); fault {
			t.Errorf("tick %d: a fault, with a share of %.3f", i+1, share)
		}
	}
}

// TestWrongPasswordsOfKnownAreNoFault: a credential that was compared with the one that worked, and is another one, says
// nothing about the password database.
func TestWrongPasswordsOfKnownAreNoFault(t *testing.T) {
	for compared, want := range map[bool]bool{false: true, true: false} {
		w := New(Config{})
		w.Tick(monday)
		for range 100 {
			w.Attempt(monday, Attempt{Known: true, Account: "u", Credential: 1, Outcome: Denied, Compared: compared})
		}
		if got := w.Tick(monday.Add(tick)).State.AuthFault; got != want {
			t.Errorf("compared %v: got a fault %v", compared, got)
		}
	}
}
