package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// How often the users of the site log in.
const (
	phonePeriod  = 5 * time.Minute  // between two polls of a phone
	officePeriod = 2 * time.Minute  // between two logins of a user in the office
	stalePeriod  = 20 * time.Second // between two tries of a stale phone
)

// shares are the shares of the classes in the logins of the site.
var shares = [...]float64{Phone: .80, Office: .05, Traveller: .07, Stale: .05, Newcomer: .03}

// users are all users that have an account, each as their usual login without a time.
type users struct {
	phones, office, stale []Login
	added                 []Login // of the classes of [Generator.Add]
}

func newUsers(normal float64) *users {
	count := func(c Class, period time.Duration) int {
		return max(1, int(normal*shares[c]*period.Seconds()))
	}
	p := &users{}
	for i := range count(Phone, phonePeriod) {
		p.phones = append(p.phones, newUser(Phone, homeAddr(i), i))
	}
	for i := range count(Office, officePeriod) {
		p.office = append(p.office, newUser(Office, officeAddr, i))
	}
	for i := range count(Stale, stalePeriod) {
		p.stale = append(p.stale, newUser(Stale, homeAddr(len(p.phones)+i), i))
	}
	return p
}

// newUser returns the login of the i-th user of class c.
func newUser(c Class, addr netip.Addr, i int) Login {
	account := fmt.Sprintf("%v%d@example.org", c, i)
	return Login{Class: c, Try: 1, Tries: 1, Addr: addr, Account: account, Secret: Secret(account)}
}

// all returns all users of the usual site.
func (p *users) all() []Login {
	return slices.Concat(p.phones, p.office, p.stale)
}

// streams returns a stream for each class of users.
func (p *users) streams(seed uint64, normal float64) []*stream {
	random := func(c Class) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(c))) }
	rnd, stale := random(Traveller), roundRobin(p.stale, random(Stale))
	var all []*stream
	for c, next := range []func(i int) Login{
		Phone:  roundRobin(p.phones, random(Phone)),
		Office: roundRobin(p.office, random(Office)),
		Traveller: func(i int) Login {
			return p.elsewhere(rnd, Traveller, i)
		},
		Stale: func(i int) Login {
			l := stale(i)
			l.Secret = "former-" + l.Secret
			return l
		},
		Newcomer: func(i int) Login {
			l := newUser(Newcomer, changingAddr(i, newcomerOctet), i)
			l.Tries = newcomerTries
			return l
		},
	} {
		rate := normal * shares[c]
		all = append(all, &stream{
			login: next,
			rate:  func(time.Duration) float64 { return rate },
			rnd:   rand.New(rand.NewPCG(seed, uint64(10+c))),
		})
	}
	return all
}

// elsewhere returns a login of a random phone's owner, of class c, from the i-th address of the travellers. If the
// account is stolen, the class is Victim.
func (p *users) elsewhere(rnd *rand.Rand, c Class, i int) Login {
	l := p.phones[rnd.IntN(len(p.phones))]
	l.Addr = changingAddr(i, travellerOctet)
	if l.Class != Victim {
		l.Class = c
	}
	return l
}

// roundRobin returns each of list once, in a random sequence, and then repeats that sequence, so that each user logs in
// at about regular intervals.
func roundRobin(list []Login, rnd *rand.Rand) func(i int) Login {
	sequence := rnd.Perm(len(list))
	return func(i int) Login {
		return list[sequence[i%len(sequence)]]
	}
}
