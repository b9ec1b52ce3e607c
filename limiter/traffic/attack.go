package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"
)

// A Kind is how attackers go about it; the package comment describes each.
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

// Kinds returns every kind there is.
func Kinds() []Kind {
	return []Kind{Few, Wide, Target, Spray, Hop, Insider}
}

// String returns the word for k in the package comment.
func (k Kind) String() string {
	return [...]string{"few", "wide", "target", "spray", "hop", "insider"}[k]
}

// ParseKind returns the kind that [Kind.String] calls s.
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds() {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("attack %q: want one of %v", s, Kinds())
}

// An Attack is one kind of attackers, and how many logins they add to those of the site.
type Attack struct {
	Kind  Kind
	Curve []Step // in the order of time; nothing before the first
}

// A Step is a time, counted from the start of the crowd, from which on all logins together, the site's and the
// attackers', are that many times the site's. At 1 or less there is no attack.
type Step struct {
	From  time.Duration
	Times float64
}

// Steady returns an attack that begins at a time and makes all logins together the given multiple of the site's.
func Steady(k Kind, from time.Duration, times float64) Attack {
	return Attack{Kind: k, Curve: []Step{{from, times}}}
}

// Incident returns the attack of 29 March 2022, hour by hour: logins rose to 2.35, 3.09, 4.08 and at most 4.27 times normal,
// from very many addresses, were still 3.46 times normal in the fifth hour, and then went back. A shorter hour makes it shorter.
func Incident(from, hour time.Duration) Attack {
	a := Attack{Kind: Wide}
	for i, times := range []float64{2.35, 3.09, 4.08, 4.27, 3.46, 1} {
		a.Curve = append(a.Curve, Step{from + time.Duration(i)*hour, times})
	}
	return a
}

// Times returns how many times those of the site all logins together are at a time since the start of the crowd.
func (a Attack) Times(since time.Duration) float64 {
	times := 1.0
	for _, s := range a.Curve {
		if since >= s.From {
			times = max(1, s.Times)
		}
	}
	return times
}

// Peak returns the most that Times ever returns.
func (a Attack) Peak() float64 {
	times := 1.0
	for _, s := range a.Curve {
		times = max(times, s.Times)
	}
	return times
}

// How many of what each kind has.
const (
	fewAddresses     = 10
	wideAddresses    = 20_000
	sprayAddresses   = 2000
	hopNetworks      = 50
	insiderAddresses = 500
	insiderAccount   = "insider@example.org"
)

// sprayed is what everybody's account is tried with.
var sprayed = []string{"123456", "password", "12345678", "qwerty", "summer2022"}

// stream returns the logins of a on a site of the given people.
func (a Attack) stream(p *people, chance *rand.Rand, normal float64) *stream {
	return &stream{
		class:  Attacker,
		who:    a.who(p, chance, normal),
		rate:   func(since time.Duration) float64 { return (a.Times(since) - 1) * normal },
		chance: chance,
	}
}

// who returns who makes the i-th login of a.
func (a Attack) who(p *people, chance *rand.Rand, normal float64) func(i int) person {
	victims := p.all()
	guess := func(addr netip.Addr) person {
		account := victims[chance.IntN(len(victims))].account
		return person{addr, account, "guess-" + strconv.Itoa(chance.IntN(1_000_000))}
	}
	switch a.Kind {
	case Few:
		return func(i int) person { return guess(botnet(i % fewAddresses)) }
	case Wide:
		addresses := max(wideAddresses, int(60*normal*(a.Peak()-1)))
		return func(i int) person { return guess(botnet(i % addresses)) }
	case Target:
		return func(i int) person {
			q := guess(botnet(i))
			q.account = p.phones[0].account
			return q
		}
	case Spray:
		return func(i int) person {
			password := sprayed[i/len(victims)%len(sprayed)]
			return person{botnet(i % sprayAddresses), victims[i%len(victims)].account, password}
		}
	case Hop:
		return func(i int) person { return guess(hop(i, hopNetworks)) }
	default:
		return func(i int) person {
			addr := botnet(i / 3 % insiderAddresses)
			if i%3 == 0 {
				return person{addr, insiderAccount, Secret(insiderAccount)}
			}
			return guess(addr)
		}
	}
}
