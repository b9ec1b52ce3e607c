package traffic

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// The users behind the shared address.
const (
	sharedPhones  = 300
	sharedTokens  = 60     // users with a token who were accepted there
	sharedRoaming = 600    // users with a token who were accepted elsewhere
	roamingHomes  = 20_000 // the number of the first home of these
)

// Add adds users of class c, one of those that are not part of the usual site, who log in rate times a second. It must
// be called before Next.
func (g *Generator) Add(c Class, rate float64) {
	rnd := rand.New(rand.NewPCG(g.seed, uint64(200+int(c))))
	g.streams = append(g.streams, &stream{
		login: g.users.add(c, rnd),
		rate:  func(time.Duration) float64 { return rate },
		rnd:   rnd,
		start: g.start,
		at:    g.start,
	})
}

// add adds users of class c to p, and returns a function that returns their i-th login.
func (p *users) add(c Class, rnd *rand.Rand) func(i int) Login {
	switch c {
	case Roaming:
		return func(i int) Login {
			l := p.elsewhere(rnd, c, roamingFrom+i)
			l.Token, l.Tries = true, newcomerTries
			return l
		}
	case Device:
		devices := p.addDevices(c, p.phones)
		return func(i int) Login {
			l := devices[rnd.IntN(len(devices))]
			l.Addr = changingAddr(deviceFrom+i, travellerOctet)
			return l
		}
	case Owner:
		return func(i int) Login {
			l := p.phones[0]
			l.Class, l.Tries, l.Addr = c, newcomerTries, changingAddr(ownerFrom+i, travellerOctet)
			return l
		}
	case OwnerDevice:
		devices := p.addDevices(c, p.phones[:1])
		return func(i int) Login {
			l := devices[0]
			l.Addr = changingAddr(ownerDeviceFrom+i, travellerOctet)
			return l
		}
	case SharedNewcomer, Nearby:
		return func(i int) Login {
			l := newUser(c, sharedAddr, i)
			if l.Tries = newcomerTries; c == Nearby {
				l.Addr = nearbyAddr(i)
			}
			return l
		}
	case SharedToken:
		return p.addSharedTokens(rnd)
	default: // Shared
		return roundRobin(p.addUsers(Shared, sharedPhones, func(int) netip.Addr { return sharedAddr }), rnd)
	}
}

// addUsers adds n users of class c.
func (p *users) addUsers(c Class, n int, addr func(i int) netip.Addr) []Login {
	first := len(p.added)
	for i := range n {
		p.added = append(p.added, newUser(c, addr(i), i))
	}
	return p.added[first:]
}

// addDevices adds a login with a device, of class c, of each of the owners.
func (p *users) addDevices(c Class, owners []Login) []Login {
	first := len(p.added)
	for i, l := range owners {
		l.Class, l.Device = c, uint64(c)<<32+uint64(i)+1
		p.added = append(p.added, l)
	}
	return p.added[first:]
}

// addSharedTokens adds users with a token, and returns a function that returns their i-th login behind the shared
// address: in turn of one who was accepted there and of one who was accepted elsewhere.
func (p *users) addSharedTokens(rnd *rand.Rand) func(i int) Login {
	all := p.addUsers(SharedToken, sharedTokens+sharedRoaming, func(i int) netip.Addr {
		if i < sharedTokens {
			return sharedAddr
		}
		return homeAddr(roamingHomes + i)
	})
	for i := range all {
		all[i].Token = true
	}
	next := [2]func(int) Login{roundRobin(all[:sharedTokens], rnd), roundRobin(all[sharedTokens:], rnd)}
	return func(i int) Login {
		l := next[i%2](i / 2)
		l.Addr = sharedAddr
		return l
	}
}
