//go:build !race

package limiter

import (
	"slices"
	"testing"
	"time"
)

// In random states, Inspect says what Ask answers to a wrong password, and to the one that was accepted last, and changes
// nothing.
func TestSimulationInspectAgreesWithAsk(t *testing.T) {
	refused, waited, known, shared := 0, 0, 0, 0
	for seed := range uint64(60) {
		p := defaultPolicy()
		p.RepeatTTL, p.Attack = 0, seed%3 == 0 // a password that is denied again would be a repeat
		p.Source, p.Network = Rate{10, time.Minute}, Rate{30, time.Minute}
		if seed%4 == 1 {
			p.TableMax = 60
		}
		h := newHistory(t, seed, p)
		h.l.SetLists(Lists{Blocked: networks("10.0.0.10/31"), Allowed: networks("10.0.0.16/30")})
		h.l.SetPolicy(start, p)
		right := func(account string) Credential { return h.l.Credential(account, []byte("right")) }
		for i := range 600 {
			h.step(time.Second, 60, Denied, Denied, Void)
			a := h.attempt(60)
			if i%10 == 0 {
				k := h.l.Ask(h.now, Attempt{Addr: a.Addr, Account: a.Account, Credential: right(a.Account)})
				k.Settle(h.now, Accepted)
			}
			if a.Credential = (Credential{}); i%7 == 0 {
				a.Account = ""
			}
			before, rnd := h.l.tableCopy(), h.rnd.Uint64()
			got := h.l.Inspect(h.now, a)
			if after := h.l.tableCopy(); !slices.Equal(after, before) {
				t.Fatalf("seed %d: Inspect changed the table", seed)
			}
			a.Credential = Credential{0xff, 0xff, 9: byte(rnd), 19: byte(rnd >> 8)}
			full := h.l.table.isFull(p.TableMax)
			k := h.l.Ask(h.now, a)
			if !full && k.verdict != got.Stranger {
				t.Fatalf("seed %d: a wrong password of %+v: Inspect says %+v, Ask %+v", seed, a, got.Stranger, k.verdict)
			}
			k.release(h.l.epoch.ticks(h.now), h.l.rules.Load(), nothing)
			switch {
			case full:
				shared++
			case k.verdict.Action == Refuse:
				refused++
			case k.verdict.Action == Wait:
				waited++
			}
			_, m := h.l.known.lookup(h.l.hasher.account(a.Account), fingerprints{credential: credentialFingerprint(right(a.Account))}, validityAt(h.now, p.KnownTTL))
			if a.Account == "" || !m.latest || full {
				continue
			}
			known++
			got = h.l.Inspect(h.now, a)
			a.Credential = right(a.Account)
			if k := h.l.Ask(h.now, a); k.verdict != got.Known {
				t.Fatalf("seed %d: the right password of %+v: Inspect says %+v, Ask %+v", seed, a, got.Known, k.verdict)
			} else {
				k.Settle(h.now, Void)
			}
		}
		h.finish(Void)
	}
	if refused < 1000 || waited < 1000 || known < 1000 || shared < 100 {
		t.Errorf("%d refused, %d waited, %d known, %d in a full table: the test does not test enough", refused, waited, known, shared)
	}
}

// tableCopy returns a copy of all entries.
func (l *Limiter) tableCopy() (all []entry) {
	for i := range l.table.shards {
		all = append(all, l.table.shards[i].entries...)
	}
	return all
}

// Four generations whose events arrive at once give the verdicts that one process would have given, and end with the
// same knowledge.
func TestSimulationChainGivesTheVerdictsOfOneProcess(t *testing.T) {
	denied := 0
	for seed := range uint64(20) {
		p := twinPolicy()
		p.Attack = seed%4 == 0
		w := newTwin(t, seed, p)
		for n := range 4 {
			if n > 0 {
				w.handOver()
			}
			for range 300 {
				w.step(false)
			}
			for range 100 {
				w.step(true)
			}
			if requireSame(t, w.now, w.chain[n].Limiter, w.alone); t.Failed() {
				t.Fatalf("seed %d, generation %d", seed, n+1)
			}
		}
		w.finish()
		requireSame(t, w.now, w.chain[3].Limiter, w.alone)
		requireNothingOpen(t, w.chain...)
		for _, g := range w.chain {
			checkTable(t, &g.table, 100_000)
		}
		denied += w.denied
	}
	if denied < 500 {
		t.Errorf("%d denials, want 500: the test does not test enough", denied)
	}
}
