package limiter

import (
	"testing"
	"time"
)

// settled returns what is spent and held in the source of host(0).
func settled(l *Limiter, t time.Time) (spent, held int) {
	e, limit := l.inside(kindSource, Source(host(0))), l.rules.Load().denials[kindSource]
	return e.denials.spent(l.epoch.ticks(t), &limit), int(e.holds)
}

func TestSettle(t *testing.T) {
	for _, tc := range []struct {
		outcome Outcome
		spent   int
	}{{Denied, 1}, {Accepted, 0}, {Void, 0}} {
		l := newLimiter(t, policy())
		k := l.Ask(start, Attempt{Addr: host(0)})
		if _, held := settled(l, start); held != 1 {
			t.Errorf("%v: %d held before", tc.outcome, held)
		}
		k.Settle(start, tc.outcome)
		if spent, held := settled(l, start); spent != tc.spent || held != 0 {
			t.Errorf("%v: spent %d, held %d; want %d, 0", tc.outcome, spent, held, tc.spent)
		}
	}
}

func TestSettleTwice(t *testing.T) {
	for _, first := range []Outcome{Denied, Accepted, Void} {
		for _, second := range []Outcome{Denied, Accepted, Void} {
			l := newLimiter(t, defaultPolicy())
			other := l.Ask(start, Attempt{Addr: host(0)}) // holds a token throughout
			k := l.Ask(start, Attempt{Addr: host(0)})
			k.Settle(start, first)
			spent, held := settled(l, start)
			k.Settle(start, second)
			if s, h := settled(l, start); s != spent || h != held {
				t.Errorf("%v then %v: spent %d, held %d; want %d, %d", first, second, s, h, spent, held)
			}
			other.Settle(start, Void)
		}
	}
	new(Ticket).Settle(start, Denied) // a zero Ticket
}

func TestSettleRefused(t *testing.T) {
	p := policy()
	p.Source = Rate{1, time.Hour}
	l := newLimiter(t, p)
	k := l.Ask(start, Attempt{Addr: host(0)})
	for _, o := range []Outcome{Denied, Accepted, Void} {
		refused := l.Ask(start, Attempt{Addr: host(0)})
		refused.Settle(start, o)
		if spent, held := settled(l, start); spent != 0 || held != 1 {
			t.Errorf("%v: spent %d, held %d; want 0, 1", o, spent, held)
		}
		if v := refused.Verdict(); v != refusal(RuleSource) {
			t.Errorf("verdict %v after settling", v)
		}
	}
	k.Settle(start, Void)
}

func TestSetPolicy(t *testing.T) {
	p := policy()
	p.Source, p.Network = Rate{4, 4 * time.Minute}, Rate{}
	sr := runScript(t, p, `
		0s   ask a 192.0.2.1  = pass none
		0s   denied a
		0s   ask b 192.0.2.1  = wait 2s source
		0s   connect v 192.0.2.1
	`)
	set := func(change func(*Policy)) {
		t.Helper()
		change(&p)
		if err := sr.SetPolicy(start, p); err != nil {
			t.Fatal(err)
		}
	}
	set(func(p *Policy) { p.Source = Rate{40, 40 * time.Minute} })
	sr.run(t, `0s  ask c 192.0.2.1  = pass none`) // 1 of 40 is no tenth
	set(func(p *Policy) { p.Source = Rate{3, 3 * time.Minute} })
	sr.run(t, `0s  ask d 192.0.2.1  = refuse source`) // 1 spent, b and c hold
	set(func(p *Policy) { p.Source = Rate{} })
	sr.run(t, `
		0s  ask e 192.0.2.1   = pass none
		0s  denied e`) // asked and settled while the rule is off
	set(func(p *Policy) { p.Source, p.OpenPrelogin = Rate{3, 3 * time.Minute}, 1 })
	sr.run(t, `
		0s  void b
		0s  denied c
		0s  ask f 192.0.2.1      = wait 4s source
		0s  void f
		0s  connect w 192.0.2.1  = refuse open_prelogin
		1m  ask g 192.0.2.1      = wait 2s source
	`)
	before := sr.rules.Load()
	p.Source.Per = 0
	if err := sr.SetPolicy(start, p); err == nil || sr.rules.Load() != before {
		t.Errorf("an invalid policy: got error %v", err)
	}
}

// A queued attempt passes when the global rule is switched off.
func TestSetPolicyGlobalOffPassesTheQueue(t *testing.T) {
	p := policy()
	p.Global = Rate{1, 5 * time.Second}
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1  = pass none
		0s  enter a          = pass none
		0s  ask b 192.0.3.1  = pass none
		0s  enter b          = wait 5s global
		1s  dispatch         =
	`)
	p.Global = Rate{}
	if err := sr.SetPolicy(at("1s"), p); err != nil {
		t.Fatal(err)
	}
	sr.run(t, `
		1s  dispatch         = b pass
		1s  ask c 192.0.2.1  = pass none
		1s  enter c          = pass none
	`)
}

func TestSetPolicyTableMax(t *testing.T) {
	p := policy()
	p.TableMax = 20_000
	l := newLimiter(t, p)
	for i := range 10_000 {
		attempt(l, start, host(i), Denied)
	}
	p.TableMax = 1000
	if err := l.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(start); s.Capacity != 1000 || s.Sources != 10_000 {
		t.Errorf("got %+v, want all entries in use kept", s)
	}
	for i := range 10_000 {
		attempt(l, at("3h"), host(10_000+i), Denied)
	}
	checkTable(t, &l.table, 1000)
}

// When the table is full, new sources share entries, which delay and never refuse.
func TestFullTableSharesEntries(t *testing.T) {
	p := policy()
	p.TableMax, p.Global = 10, Rate{}
	l := newLimiter(t, p)
	var connections []*Connection
	for i := range p.TableMax {
		v, _ := l.Connect(start, host(100_000+i*250))
		connections = append(connections, v)
	}
	for i := range 400 {
		v, verdict := l.Connect(start, host(i*250))
		if verdict != pass {
			t.Fatalf("connect %d: %v", i, verdict)
		}
		k := l.Ask(start, Attempt{Addr: host(i * 250)})
		if k.Verdict().Action == Refuse {
			t.Fatalf("ask %d: %v", i, k.Verdict())
		}
		k.Settle(start, Denied)
		connections = append(connections, v)
		checkTable(t, &l.table, p.TableMax)
	}
	k := l.Ask(start, Attempt{Addr: host(7)})
	if want := waiting(RuleNetwork, p.WaitMax); k.Verdict() != want {
		t.Errorf("verdict %v, want %v", k.Verdict(), want)
	}
	if shared := l.Stats(start).Shared; shared != 401 {
		t.Errorf("%d attempts shared, want 401", shared)
	}
	// Holds and connections are returned to the entry in which they were counted, even if there is space for their own by then.
	for _, v := range connections {
		v.Close(at("1s"))
	}
	k.Settle(at("1h"), Denied)
	four := &l.table.shared[0].entry
	if four.open != 0 || four.prelogin != 0 || four.holds != 0 || four.denials.spent(l.epoch.ticks(at("1h")), &l.rules.Load().denials[kindNetwork]) != 1 {
		t.Errorf("the shared entry ends as %+v", four)
	}
	if later := l.Ask(at("3h"), Attempt{Addr: host(7)}); later.held != 2 {
		t.Error("the source has no entry although the table is no longer full")
	}
}

// A known attempt with another password, whose source has no entry, is charged to its network.
func TestKnownInFullTableIsChargedToNetwork(t *testing.T) {
	p := defaultPolicy()
	p.TableMax = 1
	l := newLimiter(t, p)
	a := Attempt{Addr: host(0), Account: "u"}
	k := l.Ask(start, a)
	k.Settle(start, Accepted)
	if v, _ := l.Connect(start, host(9)); v == nil {
		t.Fatal("refused")
	}
	for range 10 {
		k := l.Ask(start, a)
		if !k.Verdict().Known || k.held != 1 {
			t.Fatalf("%+v, %d held", k.Verdict(), k.held)
		}
		k.Settle(start, Denied)
	}
	if k := l.Ask(start, a); k.Verdict().Rule != RuleNetwork || k.Verdict().Action != Wait {
		t.Errorf("%+v", k.Verdict())
	}
}
