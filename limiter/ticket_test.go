package limiter

import (
	"testing"
	"time"
)

// settled is what is left of a ticket's doings: source spent, source held, global tokens.
func settled(l *Limiter, t time.Time) (spent, held int, global float64) {
	e := l.table.entries[keyOf(ofSource, host(0))]
	return e.denials.spent(t, l.policy.Source), e.denials.holds, l.Stats(t).GlobalTokens
}

func TestSettle(t *testing.T) {
	for _, tc := range []struct {
		outcome Outcome
		spent   int
	}{{Denied, 1}, {Accepted, 0}, {Void, 0}} {
		l := newLimiter(t, policy())
		k := l.Ask(start, Attempt{Addr: host(0)})
		if _, held, _ := settled(l, start); held != 1 {
			t.Errorf("%v: %d held before", tc.outcome, held)
		}
		k.Settle(start, tc.outcome)
		if spent, held, global := settled(l, start); spent != tc.spent || held != 0 || global != 199 {
			t.Errorf("%v: spent %d, held %d, global %v; want %d, 0, 199", tc.outcome, spent, held, global, tc.spent)
		}
	}
}

func TestSettleTwice(t *testing.T) {
	for _, first := range []Outcome{Denied, Accepted, Void} {
		for _, second := range []Outcome{Denied, Accepted, Void} {
			p := policy()
			p.Global = Rate{1, time.Second}
			l := newLimiter(t, p)
			l.Ask(start, Attempt{Addr: host(1)})
			other := l.Ask(start, Attempt{Addr: host(0)}) // keeps its hold and its turn throughout
			k := l.Ask(start, Attempt{Addr: host(0)})
			k.Settle(start, first)
			spent, held, global := settled(l, start)
			k.Settle(start, second)
			if s, h, g := settled(l, start); s != spent || h != held || g != global {
				t.Errorf("%v then %v: spent %d, held %d, global %v; want %d, %d, %v",
					first, second, s, h, g, spent, held, global)
			}
			other.Settle(start, Void)
		}
	}
}

func TestSettleRefused(t *testing.T) {
	p := policy()
	p.Source = Rate{1, time.Hour}
	l := newLimiter(t, p)
	k := l.Ask(start, Attempt{Addr: host(0)})
	refused := l.Ask(start, Attempt{Addr: host(0)})
	for _, o := range []Outcome{Denied, Accepted, Void} {
		refused.Settle(start, o)
		if spent, held, global := settled(l, start); spent != 0 || held != 1 || global != 199 {
			t.Errorf("%v: spent %d, held %d, global %v; want 0, 1, 199", o, spent, held, global)
		}
	}
	if v := refused.Verdict(); v != refusal(RuleSource) {
		t.Errorf("verdict %v after settling", v)
	}
	k.Settle(start, Void)
}

func TestSetPolicy(t *testing.T) {
	p := policy()
	p.Source, p.Network = Rate{4, 4 * time.Minute}, Rate{}
	tl := statement(t, p, `
		0s   ask a 192.0.2.1  = pass none
		0s   ask b 192.0.2.1  = pass none
		0s   denied a
		0s   connect v 192.0.2.1
	`)
	set := func(change func(*Policy)) {
		t.Helper()
		change(&p)
		if err := tl.SetPolicy(start, p); err != nil {
			t.Fatal(err)
		}
	}
	set(func(p *Policy) { p.Source = Rate{40, 40 * time.Minute} })
	tl.play(t, `0s  ask c 192.0.2.1  = pass none`) // 1 of 40 is no tenth
	set(func(p *Policy) { p.Source = Rate{3, 3 * time.Minute} })
	tl.play(t, `0s  ask d 192.0.2.1  = refuse source`) // 1 spent, b and c hold
	set(func(p *Policy) { p.Source = Rate{} })
	tl.play(t, `
		0s  ask e 192.0.2.1   = pass none
		0s  denied e`) // held without a rule, settled without one
	set(func(p *Policy) { p.Source, p.OpenPrelogin = Rate{3, 3 * time.Minute}, 1 })
	tl.play(t, `
		0s  void b
		0s  denied c
		0s  ask f 192.0.2.1      = wait 4s source
		0s  connect w 192.0.2.1  = refuse open_prelogin
		1m  ask g 192.0.2.1      = wait 2s source
	`)
	before := tl.policy
	p.Source.Per = 0
	if err := tl.SetPolicy(start, p); err == nil || tl.policy.Source != before.Source {
		t.Errorf("a wrong policy gave %v and %v", err, tl.policy.Source)
	}
}

// A token reserved under one policy is not put back into a bucket another has made.
func TestSetPolicyGlobal(t *testing.T) {
	p := policy()
	p.Global = Rate{1, time.Second}
	l := newLimiter(t, p)
	l.Ask(start, Attempt{Addr: host(0)})
	waits := l.Ask(start, Attempt{Addr: host(1)})
	p.Global = Rate{}
	if err := l.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	free := l.Ask(start, Attempt{Addr: host(2)})
	waits.Settle(start, Void)
	p.Global = Rate{5, time.Hour}
	if err := l.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	free.Settle(start, Void)
	if left := l.Stats(start).GlobalTokens; left != 4 {
		t.Errorf("%v global tokens left, want 4: one was spent", left)
	}
}

func TestSetPolicyShrinksTheTable(t *testing.T) {
	p := policy()
	l := newLimiter(t, p)
	for i := range 100 {
		attempt(l, start, host(i), Denied)
	}
	p.TableMax = 10
	if err := l.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(start); s.Capacity != 10 || s.Sources != 100 {
		t.Errorf("%+v: what is in use must stay", s)
	}
	for i := range 100 {
		attempt(l, at("1h"), host(100+i), Denied)
	}
	checkTable(t, &l.table, 10)
}
