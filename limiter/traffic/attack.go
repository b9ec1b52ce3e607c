package traffic

import (
	"cmp"
	"fmt"
	"math"
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
	Stolen
	HangUp
	Impatient
	Spray48
	Fresh48
	SharedGuess
	SharedIdle
	SharedBurst
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{Few, Wide, Target, Spray, Hop, Insider, Stolen, HangUp, Impatient, Spray48, Fresh48, SharedGuess, SharedIdle, SharedBurst}
}

// String returns the name of k in the package comment.
func (k Kind) String() string {
	return [...]string{
		"few", "wide", "target", "spray", "hop", "insider", "stolen", "hangup", "impatient", "spray48", "fresh48",
		"shared", "shared-idle", "shared-burst",
	}[k]
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

	Accounts  int // of Stolen: how many are stolen, 1,000 if zero
	Addresses int // of Few, Target, Wide, HangUp and Impatient: in all, zero for as many as the package comment says; of Stolen: for each account, one if zero
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
	stolenAccounts   = 1000
	hangUpTime       = 1900 * time.Millisecond
	impatience       = time.Second
	spray48Accounts  = 50_000
	spray48Networks  = 500
	idleConnections  = 40
	idleTime         = time.Minute
	burstGuesses     = 10
	burstPeriod      = 10 * time.Minute
)

// sprayedPasswords are the passwords that spray tries at every account.
var sprayedPasswords = []string{"123456", "password", "12345678", "qwerty", "summer2022"}

// stream returns the stream of a on a site with users p.
func (a Attack) stream(p *users, rnd *rand.Rand, normal float64) *stream {
	s := &stream{login: a.login(p, rnd, normal), rnd: rnd}
	s.rate = func(since time.Duration) float64 { return (a.Times(since) - 1) * normal }
	switch a.Kind {
	case SharedIdle:
		s.rate = func(since time.Duration) float64 { return a.burst(since, s.taken < idleConnections) }
	case SharedBurst:
		s.rate = func(since time.Duration) float64 {
			return a.burst(since, s.taken/burstGuesses <= int((since-a.Curve[0].From)/burstPeriod))
		}
	}
	return s
}

// burst returns the rate of attacks that are as fast as they can be while more is set, and do nothing otherwise.
func (a Attack) burst(since time.Duration, more bool) float64 {
	if a.Times(since) > 1 && more {
		return 1000
	}
	return 0
}

// login returns a function that returns the i-th login of a.
func (a Attack) login(p *users, rnd *rand.Rand, normal float64) func(i int) Login {
	victims := p.all()
	attempt := func(addr netip.Addr, account, secret string) Login {
		return Login{Class: Attacker, Try: 1, Tries: 1, Addr: addr, Account: account, Secret: secret}
	}
	guess := func(addr netip.Addr) Login {
		account := victims[rnd.IntN(len(victims))].Account
		return attempt(addr, account, "guess-"+strconv.Itoa(rnd.IntN(1_000_000)))
	}
	switch a.Kind {
	case Few:
		addresses := cmp.Or(a.Addresses, fewAddresses)
		return func(i int) Login { return guess(attackerAddr(i % addresses)) }
	case Wide, HangUp, Impatient:
		return a.wide(normal, guess)
	case Target:
		addresses := cmp.Or(a.Addresses, math.MaxInt)
		return func(i int) Login {
			l := guess(attackerAddr(i % addresses))
			l.Account = p.phones[0].Account
			return l
		}
	case Spray:
		return func(i int) Login {
			password := sprayedPasswords[i/len(victims)%len(sprayedPasswords)]
			return attempt(attackerAddr(i%sprayAddresses), victims[i%len(victims)].Account, password)
		}
	case Hop:
		return func(i int) Login { return guess(hopAddr(i, hopNetworks)) }
	case Stolen:
		return a.stolen(p)
	case Spray48, Fresh48:
		return a.spray48(victims, attempt)
	case SharedGuess, SharedIdle, SharedBurst:
		return a.shared(guess)
	default:
		return func(i int) Login {
			addr := attackerAddr(i / 3 % insiderAddresses)
			if i%3 == 0 {
				return attempt(addr, insiderAccount, Secret(insiderAccount))
			}
			return guess(addr)
		}
	}
}

// wide returns the logins of Wide and of the kinds that use as many addresses.
func (a Attack) wide(normal float64, guess func(netip.Addr) Login) func(i int) Login {
	addresses := cmp.Or(a.Addresses, max(wideAddresses, int(60*normal*(a.Peak()-1))))
	return func(i int) Login {
		l := guess(attackerAddr(i % addresses))
		switch a.Kind {
		case HangUp: // the challenge comes before the name
			l.Account, l.Secret, l.Hold = "", "", hangUpTime
		case Impatient:
			l.Patience = impatience
		}
		return l
	}
}

// stolen returns the logins of Stolen, and makes the owners of the accounts victims.
func (a Attack) stolen(p *users) func(i int) Login {
	addresses := max(a.Addresses, 1)
	stolen := p.phones[:min(cmp.Or(a.Accounts, stolenAccounts), len(p.phones))]
	for i := range stolen {
		stolen[i].Class = Victim
	}
	return func(i int) Login {
		n := i % len(stolen)
		l := stolen[n]
		l.Class, l.Addr = Attacker, attackerAddr(n*addresses+i/len(stolen)%addresses)
		return l
	}
}

// spray48 returns the logins of Spray48 and Fresh48: first at the accounts of the site, then at accounts nobody has.
func (a Attack) spray48(victims []Login, attempt func(netip.Addr, string, string) Login) func(i int) Login {
	return func(i int) Login {
		i %= spray48Accounts
		account, password := fmt.Sprintf("sprayed%d@example.org", i), sprayedPasswords[0]
		if i < len(victims) {
			account = victims[i].Account
		}
		if a.Kind == Fresh48 {
			password = "guess-" + strconv.Itoa(i)
		}
		return attempt(manyNetworksAddr(i), account, password)
	}
}

// shared returns the logins of the attackers behind the shared address.
func (a Attack) shared(guess func(netip.Addr) Login) func(i int) Login {
	return func(i int) Login {
		l := guess(sharedAddr)
		switch a.Kind {
		case SharedIdle:
			l.Idle, l.Tries = idleTime, 1<<30
		case SharedBurst:
			l.Account = fmt.Sprintf("nobody%d@example.org", i)
		}
		return l
	}
}
