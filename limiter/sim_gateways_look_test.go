package limiter_test

import (
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A lookAttack is a greedyAttack on an account of which a credential is known: when denials are refused, a gateway still
// compares guesses with that credential, for a look each.
type lookAttack struct {
	*greedyAttack
	looks []time.Time
}

// newLookAttack returns an attack on n gateways.
func newLookAttack(t *testing.T, n int, kind guessKind, l link) *lookAttack {
	a := &lookAttack{greedyAttack: newGreedyAttack(t, n, kind, l, equal(300*time.Millisecond))}
	p := limiter.Policy{TableMax: 100_000, KnownTTL: 720 * time.Hour}
	kind.set(&p, kind.limit)
	for _, g := range a.gateways {
		if err := g.SetPolicy(a.now, p); err != nil {
			t.Fatal(err)
		}
	}
	a.once(a.gateways[0], a.attempt(homeAddr, "u", traffic.Secret("u")), limiter.Accepted)
	a.settle()
	return a
}

// fire guesses at g for as long as that passes or the guess is compared.
func (a *lookAttack) fire(g *gateway) {
	for {
		guess := a.guess()
		x := g.Inspect(a.now, limiter.Attempt{Addr: guess.Addr, Account: guess.Account})
		k := new(limiter.Ticket)
		if *k = g.Ask(a.now, guess); k.Verdict().Action == limiter.Pass {
			a.at(a.now.Add(a.answers(g.number)), func() {
				k.Settle(a.now, limiter.Denied)
				a.denied = append(a.denied, a.now)
			})
			continue
		}
		k.Settle(a.now, limiter.Void)
		if x.Known.Action != limiter.Pass {
			return
		}
		a.looks = append(a.looks, a.now)
	}
}

// Guesses that gateways compare with what they know are bounded like denials: by the looks of one gateway, and one guess for
// each other one.
func TestGatewaysBoundLooks(t *testing.T) {
	for _, kind := range guessKinds()[:3] {
		looks := kind.limit
		if kind.name == "account" {
			looks.Tokens *= 10
		}
		for _, n := range []int{2, 3, 8} {
			for _, l := range []link{{delay: constant(20 * time.Millisecond), grace: acknowledgedAfter}, {delay: random(2 * time.Second), grace: acknowledgedAfter}} {
				a := newLookAttack(t, n, kind, l)
				for end := a.now.Add(time.Minute); a.now.Before(end); a.run(a.now.Add(100 * time.Millisecond)) {
					for _, g := range a.gateways {
						a.fire(g)
					}
					a.publish()
				}
				if most := mostDenials(looks, time.Minute) + n - 1; len(a.looks) > most {
					t.Errorf("%s, %d gateways: %d guesses were compared, want at most %d", kind.name, n, len(a.looks), most)
				}
				a.require(t, 1, n-1)
				t.Logf("%s, %d gateways: %d guesses denied, %d compared", kind.name, n, len(a.denied), len(a.looks))
			}
		}
	}
}
