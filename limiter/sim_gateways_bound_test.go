//go:build !race

package limiter

import (
	"slices"
	"testing"
	"time"
)

// A greedy attacker asks at all gateways whenever they may.
func TestSimulationGreedyAttackerStaysWithinTheBound(t *testing.T) {
	const answer = 300 * time.Millisecond
	for _, n := range []int{1, 2, 3, 5, 8} {
		for _, delay := range []time.Duration{20 * time.Millisecond, 250 * time.Millisecond, 2 * time.Second} {
			got := greedyAttack(t, n, delay, answer)
			t.Logf("%d gateways, %v late: %d denials in 5s, %d in 10m", n, delay, got[0], got[1])
			for i, most := range []int{10, 20} {
				if got[i] > most+n-1 || got[i] < most-1 {
					t.Errorf("%d gateways, %v late: %d denials, want %d to %d", n, delay, got[i], most-1, most+n-1)
				}
			}
		}
	}
}

// A parcelOfGateway is events on their way to other gateways.
type parcelOfGateway struct {
	from   int
	at     time.Duration
	events []byte
}

// greedyAttack returns how many guesses of one source are denied at n gateways within five seconds and ten minutes, if events
// arrive so late at the others, and are acknowledged then. The attacker need not wait.
func greedyAttack(t *testing.T, n int, late, answer time.Duration) (counts [2]int) {
	type attempt struct {
		k    Ticket
		ends time.Duration
	}
	p := sharedPolicy(10)
	p.WaitMax = 0
	all := newGateways(t, n, p)
	var open []*attempt
	var bus []parcelOfGateway
	denied := 0
	for now := time.Duration(0); now <= 10*time.Minute; now += 20 * time.Millisecond {
		when := start.Add(now)
		if counts[1] = denied; now <= 5*time.Second {
			counts[0] = denied
		}
		for len(bus) > 0 && bus[0].at+late <= now {
			s := bus[0]
			bus = bus[1:]
			for i, g := range all {
				if i == s.from {
					g.Acknowledge(s.events)
				} else if err := g.ApplyShared(start.Add(s.at), s.events); err != nil {
					t.Fatal(err)
				}
			}
		}
		open = slices.DeleteFunc(open, func(a *attempt) bool {
			if a.ends > now {
				return false
			}
			a.k.Settle(when, Denied)
			denied++
			return true
		})
		for i, g := range all {
			if b := g.take(); len(b) > 0 {
				bus = append(bus, parcelOfGateway{i, now, b})
			}
			for {
				a := &attempt{ends: now + answer}
				if a.k = g.Ask(when, Attempt{Addr: host(0)}); a.k.Verdict().Action == Refuse {
					break
				}
				open = append(open, a)
			}
		}
	}
	return counts
}
