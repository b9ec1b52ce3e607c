package limiter

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// The tests in this file show what an attacker gains who knows when an upgrade takes place, and attacks both processes.

// greedyDenials returns how many guesses of one attacker are denied until each of the times at. They guess at one process
// or at two whenever a verdict lets them. The backend takes 300 ms to deny, and events arrive after the time late.
func greedyDenials(t *testing.T, p Policy, gateways int, late time.Duration, at ...time.Duration) (denied []int) {
	first := newGeneration(newLimiter(t, p), 1)
	all := []*generation{first}
	if gateways == 2 {
		all = append(all, first.handOver(t, start, p))
	}
	type guess struct {
		*Ticket
		due time.Duration
	}
	var open []guess
	var inTransit []func()
	var arrives []time.Duration
	total, tried := 0, uint64(0)
	const tick = 50 * time.Millisecond
	for now := time.Duration(0); now <= at[len(at)-1]; now += tick {
		moment := start.Add(now)
		for ; len(arrives) > 0 && arrives[0] <= now; arrives, inTransit = arrives[1:], inTransit[1:] {
			inTransit[0]()
		}
		for ; len(open) > 0 && open[0].due <= now; open = open[1:] {
			open[0].Settle(moment, Denied)
			total++
		}
		for _, g := range all {
			tried++
			a := Attempt{Addr: host(1), Account: "u"}
			binary.BigEndian.PutUint64(a.Credential[8:], tried)
			k := new(Ticket)
			if *k = g.Ask(moment, a); k.Verdict().Action == Pass {
				open = append(open, guess{k, now + 300*time.Millisecond})
			} else {
				k.Settle(moment, Void)
			}
			for to, f := range g.feeds {
				if b := f.Take(1 << 20); b != nil {
					arrives, inTransit = append(arrives, now+late), append(inTransit, func() {
						if err := to.Apply(start.Add(now+late), g.number, b); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
		if now == at[len(denied)] {
			denied = append(denied, total)
		}
	}
	return denied
}

// An attacker who guesses at both processes at once gets at most one more burst, and waits for it later: within an hour
// they get no more than from one process and one token more, however late the events are.
func TestGuessingAtBothGainsOneBurstAndNoMore(t *testing.T) {
	for name, set := range map[string]func(*Policy, Rate){
		"source":  func(p *Policy, r Rate) { p.Source = r },
		"account": func(p *Policy, r Rate) { p.Account = r },
		"pair":    func(p *Policy, r Rate) { p.Pair = r },
	} {
		rate := Rate{10, 10 * time.Minute}
		p := Policy{TableMax: 1000}
		set(&p, rate)
		times := []time.Duration{5 * time.Second, 10 * time.Minute, time.Hour}
		alone := greedyDenials(t, p, 1, 0, times...)
		for _, late := range []time.Duration{0, 20 * time.Millisecond, 250 * time.Millisecond, 2 * time.Second} {
			both := greedyDenials(t, p, 2, late, times...)
			for i, d := range times {
				most := max(2*rate.Tokens, rate.Tokens+int(d/(rate.Per/time.Duration(rate.Tokens)))+1)
				if both[i] > most || both[i] < alone[i] && late == 0 {
					t.Errorf("%s, %v late: %d denials within %v, want at most %d; one process lets %d through", name, late, both[i], d, most, alone[i])
				}
			}
			t.Logf("%s, %v late: %v, alone %v", name, late, both, alone)
		}
	}
}

// Upgrades fill no bucket: neither one after the other, nor one that failed.
func TestUpgradesFillNoBucket(t *testing.T) {
	p := policy()
	p.Source = Rate{3, time.Hour}
	sr := runScript(t, p, "")
	g := newGeneration(sr.Limiter, 1)
	for i := range 3 {
		sr.run(t, fmt.Sprintf("%ds ask a 192.0.2.1", i))
		sr.run(t, fmt.Sprintf("%ds denied a", i))
		former := g
		if g = former.handOver(t, at(fmt.Sprintf("%ds", i)), p); i == 1 {
			g = former // the upgrade failed
		}
		sr = scriptRunner{g.Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	}
	sr.run(t, `
		4s    ask b 192.0.2.1  = refuse source
		15m   ask b 192.0.2.1  = refuse source
		20m   ask b 192.0.2.1  = wait 4s source
	`)
}

// Connections and challenges that an attacker keeps open at the former process still count at the new one, against their
// source only.
func TestWhatIsKeptOpenAtTheFormerProcessCounts(t *testing.T) {
	p := policy()
	p.Open, p.Source = 2, Rate{6, time.Hour}
	former, next := handOverScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  ask c 192.0.2.1      = pass none
		0s  ask d 192.0.2.1      = pass none
	`, "1s")
	next.then(t, "1s", `
		1s  connect e 192.0.2.1  = refuse open
		1s  connect f 192.0.2.2  = pass none
		1s  ask g 192.0.2.1      = again 250ms source
		1s  ask h 192.0.2.2      = pass none
		1s  void h
		1s  close f
	`)
	third := next.own.handOver(t, at("2s"), p)
	sr := scriptRunner{third.Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	sr.run(t, `
		3s  connect e 192.0.2.1  = refuse open
		3s  ask g 192.0.2.1      = again 250ms source
	`)
	former.run(t, `
		4s  close a
		4s  void c
		4s  denied d
	`)
	deliver(t, at("4s"), former.own, next.own, third)
	sr.run(t, `
		5s  connect e 192.0.2.1  = pass none
		5s  ask i 192.0.2.1      = wait 2s source
	`)
}

// A password that was tried at many accounts stays sprayed, and a source keeps its penalty: an upgrade
// improves no priority.
func TestUpgradeKeepsSpraysAndPenalties(t *testing.T) {
	p := defaultPolicy()
	p.Source = Rate{100, time.Minute}
	sr := runScript(t, p, "")
	for i := range 60 {
		sr.run(t, fmt.Sprintf("0s ask a 192.0.%d.1 user%d/x", i, i))
		sr.run(t, "0s denied a")
	}
	g := newGeneration(sr.Limiter, 1)
	next := scriptRunner{g.handOver(t, at("30m"), p).Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	for _, l := range []scriptRunner{sr, next} {
		k := l.Ask(at("30m"), l.attempt("198.51.100.1", "someone/x"))
		if v := k.Verdict(); v.Action != Refuse && v.Action != Repeat || v.Rule != RuleSpray {
			k := l.Ask(at("30m"), l.attempt("198.51.100.1", "someone/x"))
			t.Errorf("got %+v, then %+v", v, k.Verdict())
		}
		k = l.Ask(at("30m"), l.attempt("192.0.7.1", "other/z"))
		if k.Priority().class != classPenalized {
			t.Errorf("got %v", k.Priority())
		}
	}
}
