package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"
)

// A Kind is a kind of attack; the package comment describes each.
type Kind uint8

// The kinds of attack.
const (
	Few Kind = iota
	Wide
	Target
	Spray
	Hop
	Insider
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{Few, Wide, Target, Spray, Hop, Insider}
}

// String returns the name of k in the package comment.
func (k Kind) String() string {
	return [...]string{"few", "wide", "target", "spray", "hop", "insider"}[k]
}

// ParseKind returns the kind whose String is s.
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds() {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("parsing a kind of attack: got %q, want one of %v", s, Kinds())
}

// An Attack is a kind of attack and its strength over time.
type Attack struct {
	Kind  Kind
	Curve []Phase // by time; there is no attack before the first
}

// A Phase begins at From after the start of the Generator. In it, all logins together, of users and attackers, are
// Times those of the users. At 1 or less there is no attack.
type Phase struct {
	From  time.Duration
	Times float64
}

// Steady returns an attack of constant strength from the given time on.
func Steady(k Kind, from time.Duration, times float64) Attack {
	return Attack{Kind: k, Curve: []Phase{{from, times}}}
}

// Incident returns the attack of 29 March 2022, hour by hour: logins rose to 2.35, 3.09, 4.08 and at most 4.27 times
// normal, from very many addresses, were still 3.46 times normal in the fifth hour, and then went back. A shorter hour
// makes it shorter.
func Incident(from, hour time.Duration) Attack {
	a := Attack{Kind: Wide}
	for i, times := range []float64{2.35, 3.09, 4.08, 4.27, 3.46, 1} {
		a.Curve = append(a.Curve, Phase{from + time.Duration(i)*hour, times})
	}
	return a
}

// Times returns the ratio of all logins to those of the users, at a time since the start of the Generator.
func (a Attack) Times(since time.Duration) float64 {
	times := 1.0
	for _, s := range a.Curve {
		if since >= s.From {
			times = max(1, s.Times)
		}
	}
	return times
}

// Peak returns the maximum of Times.
func (a Attack) Peak() float64 {
	times := 1.0
	for _, s := range a.Curve {
		times = max(times, s.Times)
	}
	return times
}

// The sizes of the attacks.
const (
	fewAddresses     = 10
	wideAddresses    = 20_000
	sprayAddresses   = 2000
	hopNetworks      = 50
	insiderAddresses = 500
	insiderAccount   = "insider@example.org"
)

// sprayedPasswords are the passwords that spray tries at every account.
var sprayedPasswords = []string{"123456", "password", "12345678", "qwerty", "summer2022"}

// stream returns the stream of a on a site with users p.
func (a Attack) stream(p *users, rnd *rand.Rand, normal float64) *stream {
	return &stream{
		class: Attacker,
		user:  a.user(p, rnd, normal),
		rate:  func(since time.Duration) float64 { return (a.Times(since) - 1) * normal },
		rnd:   rnd,
	}
}

// user returns a function that returns what the i-th login of a tries.
func (a Attack) user(p *users, rnd *rand.Rand, normal float64) func(i int) user {
	victims := p.all()
	guess := func(addr netip.Addr) user {
		account := victims[rnd.IntN(len(victims))].account
		return user{addr, account, "guess-" + strconv.Itoa(rnd.IntN(1_000_000))}
	}
	switch a.Kind {
	case Few:
		return func(i int) user { return guess(attackerAddr(i % fewAddresses)) }
	case Wide:
		addresses := max(wideAddresses, int(60*normal*(a.Peak()-1)))
		return func(i int) user { return guess(attackerAddr(i % addresses)) }
	case Target:
		return func(i int) user {
			u := guess(attackerAddr(i))
			u.account = p.phones[0].account
			return u
		}
	case Spray:
		return func(i int) user {
			password := sprayedPasswords[i/len(victims)%len(sprayedPasswords)]
			return user{attackerAddr(i % sprayAddresses), victims[i%len(victims)].account, password}
		}
	case Hop:
		return func(i int) user { return guess(hopAddr(i, hopNetworks)) }
	default:
		return func(i int) user {
			addr := attackerAddr(i / 3 % insiderAddresses)
			if i%3 == 0 {
				return user{addr, insiderAccount, Secret(insiderAccount)}
			}
			return guess(addr)
		}
	}
}
