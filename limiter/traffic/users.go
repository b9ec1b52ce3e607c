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

// A user is an account with its address and password. For attackers, it is what they try.
type user struct {
	addr    netip.Addr
	account string
	secret  string
}

// users are all users that have an account.
type users struct {
	phones, office, stale []user
}

func newUsers(normal float64) *users {
	count := func(c Class, period time.Duration) int {
		return max(1, int(normal*shares[c]*period.Seconds()))
	}
	p := &users{}
	for i := range count(Phone, phonePeriod) {
		p.phones = append(p.phones, newUser(homeAddr(i), "phone", i))
	}
	for i := range count(Office, officePeriod) {
		p.office = append(p.office, newUser(officeAddr, "office", i))
	}
	for i := range count(Stale, stalePeriod) {
		p.stale = append(p.stale, newUser(homeAddr(len(p.phones)+i), "stale", i))
	}
	return p
}

func newUser(addr netip.Addr, name string, i int) user {
	account := fmt.Sprintf("%s%d@example.org", name, i)
	return user{addr, account, Secret(account)}
}

// all returns all users.
func (p *users) all() []user {
	return slices.Concat(p.phones, p.office, p.stale)
}

func (p *users) knownLogins() (logins []Login) {
	for c, list := range [][]user{Phone: p.phones, Office: p.office, Stale: p.stale} {
		for _, u := range list {
			logins = append(logins, Login{Class: Class(c), Try: 1, Addr: u.addr, Account: u.account, Secret: u.secret})
		}
	}
	return logins
}

// streams returns a stream for each class of users.
func (p *users) streams(seed uint64, normal float64) []*stream {
	random := func(c Class) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(c))) }
	rnd, stale := random(Traveller), roundRobin(p.stale, random(Stale))
	var all []*stream
	for c, next := range []func(i int) user{
		Phone:  roundRobin(p.phones, random(Phone)),
		Office: roundRobin(p.office, random(Office)),
		Traveller: func(i int) user {
			u := p.phones[rnd.IntN(len(p.phones))]
			u.addr = changingAddr(i, travellerOctet)
			return u
		},
		Stale: func(i int) user {
			u := stale(i)
			u.secret = "former-" + u.secret
			return u
		},
		Newcomer: func(i int) user {
			return newUser(changingAddr(i, newcomerOctet), "newcomer", i)
		},
	} {
		rate := normal * shares[c]
		all = append(all, &stream{
			class: Class(c),
			user:  next,
			rate:  func(time.Duration) float64 { return rate },
			rnd:   rand.New(rand.NewPCG(seed, uint64(10+c))),
		})
	}
	return all
}

// roundRobin returns each of list once, in a random sequence, and then repeats that sequence, so that each user logs in
// at about regular intervals.
func roundRobin(list []user, rnd *rand.Rand) func(i int) user {
	sequence := rnd.Perm(len(list))
	return func(i int) user {
		return list[sequence[i%len(sequence)]]
	}
}
