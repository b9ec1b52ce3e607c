package limiter_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
)

// The addresses of these tests: the home of a user, and a place in another network.
var (
	homeAddr  = netip.MustParseAddr("198.51.100.7")
	otherAddr = netip.MustParseAddr("203.0.113.9")
)

// everywhere fails unless want holds at all gateways.
func (s *site) everywhere(t *testing.T, what string, want func(g *gateway) bool) {
	t.Helper()
	for _, g := range s.gateways {
		if !want(g) {
			t.Errorf("gateway %d of %d: not %s", g.number, len(s.gateways), what)
		}
	}
}

// verdict returns what g answers to a, and returns what a holds.
func (s *site) verdict(g *gateway, a limiter.Attempt) limiter.Verdict {
	k := g.Ask(s.now, a)
	k.Settle(s.now, limiter.Void)
	return k.Verdict()
}

// An account that was accepted at one gateway is known at all of them when the batches have arrived: by source, by network, by
// device anywhere, and by credential anywhere.
func TestGatewaysKnowWhatOneKnows(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		s := newSite(t, attackStart, n, policy(), link{delay: random(2 * time.Second), unordered: true, repeats: .2})
		for i := range 50 {
			account := fmt.Sprint("user-", i)
			a := s.attempt(netip.AddrFrom4([4]byte{198, 51, byte(i), 7}), account, "right")
			a.Device = limiter.Device(i + 1)
			g := s.gateways[s.rnd.IntN(n)]
			if s.rnd.IntN(2) == 0 { // a mistyped password before it
				s.once(g, s.attempt(a.Addr, account, "wrong"), limiter.Denied)
				s.run(s.now.Add(7 * time.Second))
			}
			if v := s.once(s.gateways[s.rnd.IntN(n)], a, limiter.Accepted); v.Action >= limiter.Repeat || v.Again {
				t.Fatalf("%d gateways: %s is not let in: %+v", n, account, v)
			}
		}
		s.settle()
		for i := range 50 {
			account := fmt.Sprint("user-", i)
			home := netip.AddrFrom4([4]byte{198, 51, byte(i), 7})
			for what, a := range map[string]limiter.Attempt{
				"source":     s.attempt(home, account, "other"),
				"network":    s.attempt(home.Next(), account, "other"),
				"device":     {Addr: otherAddr, Account: account, Device: limiter.Device(i + 1), Resumed: true},
				"credential": s.attempt(otherAddr, account, "right"),
			} {
				s.everywhere(t, account+" known by "+what, func(g *gateway) bool {
					v := s.verdict(g, a)
					if !v.Known || v.Action != limiter.Pass {
						t.Log(v, g.Inspect(s.now, a))
					}
					return v.Known && v.Action == limiter.Pass
				})
			}
		}
	}
}

// What an operator or an accepted login clears at one gateway is cleared at all of them.
func TestGatewaysClearWhatOneClears(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		p := policy()
		p.WaitMax = 0
		s := newSite(t, attackStart, n, p, link{delay: random(time.Second), repeats: .2})
		spent := func(a limiter.Attempt, rule limiter.Rule, want int) func(g *gateway) bool {
			return func(g *gateway) bool {
				for _, b := range g.Inspect(s.now, a).Buckets {
					if b.Rule == rule && b.Spent != want {
						t.Logf("gateway %d: %+v", g.number, b)
						return false
					}
				}
				return true
			}
		}
		a := limiter.Attempt{Addr: homeAddr, Account: "u"}
		deny := func(count int) {
			for i := range count {
				s.once(s.gateways[i%n], s.attempt(homeAddr, "u", fmt.Sprint("guess-", s.now.Unix(), i)), limiter.Denied)
				s.run(s.now.Add(5 * time.Second))
				s.settle()
			}
		}
		deny(3)
		s.everywhere(t, "three denials at the pair", spent(a, limiter.RulePair, 3))
		s.everywhere(t, "three denials at the account", spent(a, limiter.RuleAccount, 3))
		s.once(s.gateways[n-1], s.attempt(homeAddr, "u", "right"), limiter.Accepted)
		s.settle()
		s.everywhere(t, "a full pair", spent(a, limiter.RulePair, 0))
		s.everywhere(t, "three denials at the source", spent(a, limiter.RuleSource, 3))

		s.gateways[1].Release(s.now, limiter.Attempt{Addr: homeAddr})
		s.gateways[1].Release(s.now, limiter.Attempt{Account: "u"})
		s.settle()
		s.everywhere(t, "a full source", spent(a, limiter.RuleSource, 0))
		s.everywhere(t, "a full network", spent(a, limiter.RuleNetwork, 0))
		s.everywhere(t, "a full account", spent(a, limiter.RuleAccount, 0))

		s.everywhere(t, "known", func(g *gateway) bool { return g.Inspect(s.now, a).Account.Known })
		s.gateways[0].ForgetAccount(s.now, "u")
		s.settle()
		s.everywhere(t, "forgotten", func(g *gateway) bool { return !g.Inspect(s.now, a).Account.Known })
		deny(2)
		s.gateways[0].Release(s.now, a)
		s.settle()
		s.everywhere(t, "a full pair after a release", spent(a, limiter.RulePair, 0))
	}
}
