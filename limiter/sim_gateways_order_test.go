package limiter_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"postern/limiter"
)

// A credential that was found to be wrong after another one was accepted stays wrong, in whatever order the batches of the
// gateways arrive, and so does one whose acceptance arrives last.
func TestGatewaysKeepCredentialWrong(t *testing.T) {
	for seed := range 60 {
		s := newSite(t, attackStart, 4, policy(), link{delay: constant(0)})
		s.rnd = rand.New(rand.NewPCG(16, uint64(seed)))
		old, current := s.attempt(homeAddr, "u", "old"), s.attempt(homeAddr, "u", "current")
		last := s.gateways[3]
		last.holds = true
		for i, o := range []struct {
			attempt limiter.Attempt
			outcome limiter.Outcome
		}{{old, limiter.Accepted}, {current, limiter.Accepted}, {old, limiter.Denied}} {
			s.once(s.gateways[i], o.attempt, o.outcome)
			s.run(s.now.Add(10 * time.Second))
		}
		s.settle()
		s.readShuffled(last)
		s.run(s.now.Add(2 * time.Minute)) // no longer a repeat
		s.everywhere(t, "known by the current password", func(g *gateway) bool {
			return s.verdict(g, s.attempt(otherAddr, "u", "current")).Known
		})
		s.everywhere(t, "a stranger with the old password", func(g *gateway) bool {
			return !s.verdict(g, s.attempt(otherAddr, "u", "old")).Known
		})
	}
}

// A clear that arrives late leaves what was denied after it, and a denial that arrives after a later clear does not count.
func TestGatewaysOrderClearsAndDenialsByTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		order []limiter.Outcome // of one attempt at each gateway but the last, which reads them in any order
		spent int
	}{
		{"denied, accepted", []limiter.Outcome{limiter.Denied, limiter.Accepted}, 0},
		{"denied, denied, accepted", []limiter.Outcome{limiter.Denied, limiter.Denied, limiter.Accepted}, 0},
		{"denied, accepted, denied", []limiter.Outcome{limiter.Denied, limiter.Accepted, limiter.Denied}, 1},
	} {
		for seed := range 20 {
			s := newSite(t, attackStart, len(tc.order)+1, policy(), link{delay: constant(0), unordered: true})
			s.rnd = rand.New(rand.NewPCG(16, uint64(seed)))
			last := s.gateways[len(tc.order)]
			last.holds = true
			for i, o := range tc.order {
				s.once(s.gateways[i], s.attempt(homeAddr, "u", fmt.Sprint(o, i)), o)
				s.settle()
				s.run(s.now.Add(20 * time.Second))
			}
			s.readShuffled(last)
			s.everywhere(t, tc.name+": the expected pair", func(g *gateway) bool {
				for _, b := range g.Inspect(s.now, limiter.Attempt{Addr: homeAddr, Account: "u"}).Buckets {
					if b.Rule == limiter.RulePair && b.Spent != tc.spent {
						t.Logf("%+v", b)
						return false
					}
				}
				return true
			})
		}
	}
}
