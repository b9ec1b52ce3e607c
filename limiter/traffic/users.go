package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// What the site's people are like.
const (
	phonePeriod  = 5 * time.Minute  // from one poll of a phone to the next
	officePeriod = 2 * time.Minute  // from one login of somebody in the office to the next
	stalePeriod  = 20 * time.Second // from one try of a stale phone to the next
)

// shares says how much of the site's logins each class makes.
var shares = [...]float64{Phone: .80, Office: .05, Traveller: .07, Stale: .05, Newcomer: .03}

// A person is somebody with an account, at home or in the office.
type person struct {
	addr    netip.Addr
	account string
	secret  string
}

// people is everybody who has an account here.
type people struct {
	phones, office, stale []person
}

func newPeople(normal float64) *people {
	count := func(c Class, period time.Duration) int {
		return max(1, int(normal*shares[c]*period.Seconds()))
	}
	p := &people{}
	for i := range count(Phone, phonePeriod) {
		p.phones = append(p.phones, newPerson(home(i), "phone", i))
	}
	for i := range count(Office, officePeriod) {
		p.office = append(p.office, newPerson(officeAddr, "office", i))
	}
	for i := range count(Stale, stalePeriod) {
		p.stale = append(p.stale, newPerson(home(len(p.phones)+i), "stale", i))
	}
	return p
}

func newPerson(addr netip.Addr, name string, i int) person {
	account := fmt.Sprintf("%s%d@example.org", name, i)
	return person{addr, account, Secret(account)}
}

// all returns everybody.
func (p *people) all() []person {
	return slices.Concat(p.phones, p.office, p.stale)
}

func (p *people) residents() (logins []Login) {
	for c, who := range [][]person{Phone: p.phones, Office: p.office, Stale: p.stale} {
		for _, q := range who {
			logins = append(logins, Login{Class: Class(c), Try: 1, Addr: q.addr, Account: q.account, Secret: q.secret})
		}
	}
	return logins
}

// streams returns the logins of each class of people.
func (p *people) streams(seed uint64, normal float64) []*stream {
	dice := func(c Class) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(c))) }
	chance, stale := dice(Traveller), inTurn(p.stale, dice(Stale))
	var all []*stream
	for c, who := range []func(i int) person{
		Phone:  inTurn(p.phones, dice(Phone)),
		Office: inTurn(p.office, dice(Office)),
		Traveller: func(i int) person {
			q := p.phones[chance.IntN(len(p.phones))]
			q.addr = abroad(i, travellersFrom)
			return q
		},
		Stale: func(i int) person {
			q := stale(i)
			q.secret = "former-" + q.secret
			return q
		},
		Newcomer: func(i int) person {
			return newPerson(abroad(i, newcomersFrom), "newcomer", i)
		},
	} {
		rate := normal * shares[c]
		all = append(all, &stream{
			class:  Class(c),
			who:    who,
			rate:   func(time.Duration) float64 { return rate },
			chance: rand.New(rand.NewPCG(seed, uint64(10+c))),
		})
	}
	return all
}

// inTurn lets each of who log in once before anybody does again, in an order of chance that stays the same: so each
// comes back after about the same time.
func inTurn(who []person, chance *rand.Rand) func(i int) person {
	order := chance.Perm(len(who))
	return func(i int) person {
		return who[order[i%len(order)]]
	}
}
