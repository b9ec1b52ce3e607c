//go:build !race

package limiter

import (
	"encoding/binary"
	"testing"
	"time"
)

// An attacker who guesses at both processes at once gets at most one more burst, and waits for it later: within an hour
// they get no more than from one process and one token more, however late the events are.
func TestSimulationGuessingAtBothGainsOneBurstAndNoMore(t *testing.T) {
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
