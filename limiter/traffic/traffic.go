// Package crowd describes who comes to the gate: a mail service's own people, and those who attack it. The simulation of
// the limiter and the load tool draw from it alike, so both speak of the same people.
//
// A [Crowd] is a stream of logins in the order of time, endless and the same for the same seed. It has no clock and sends
// nothing: whoever reads it decides what a login meets, and tells those who were turned away to come [Login.Again].
//
// # People
//
// Together they log in [Normal] times a second, or as often as they are told, each class with its share:
//
//	phone      80 %    polls every five minutes from a home that keeps its address; a third of the homes has IPv6
//	office      5 %    one of many people behind one IPv4 address
//	traveller   7 %    someone who has a phone at home, with the usual password, from an address never seen before
//	stale       5 %    a phone that tries the password its owner has changed, from home, every 20 s
//	newcomer    3 %    account and address never seen before, in a network nobody attacks from; tries three times
//
// # Attackers
//
// Their passwords are wrong, with one exception:
//
//	few        ten addresses, as loud as they can, guess at everybody
//	wide       20,000 addresses or more, each in a network of its own and with one try a minute at most
//	target     one account, that of a phone, from everywhere: each try from another address
//	spray      five passwords, one after the other over all accounts, from 2,000 addresses
//	hop        another /64 at each try, inside 50 IPv6 /48s
//	insider    500 addresses; every third try is a good one at an account of the attacker's own, from the address the two
//	           guesses after it come from
package traffic

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Normal is how often the people of the site that is usually meant log in, in logins a second.
const Normal = 60

// A Class is what kind of visitor makes a login.
type Class uint8

// The classes. All but the last belong to the site.
const (
	Phone Class = iota
	Office
	Traveller
	Stale
	Newcomer
	Attacker
)

// Classes returns every class there is.
func Classes() []Class {
	return []Class{Phone, Office, Traveller, Stale, Newcomer, Attacker}
}

// String returns the word for c in the package comment.
func (c Class) String() string {
	return [...]string{"phone", "office", "traveller", "stale", "newcomer", "attacker"}[c]
}

// A Login is one attempt somebody makes.
type Login struct {
	At      time.Time
	Class   Class
	Try     int // 1 for the first; later ones come from Again
	Addr    netip.Addr
	Account string
	Secret  string
}

// Good reports whether the secret is the account's, so that a backend that is asked must accept.
func (l Login) Good() bool {
	return l.Secret == Secret(l.Account)
}

// tries is how often a newcomer asks before it gives up.
const tries = 3

// Again returns the next try of somebody who was turned away at time t, or got no answer by then: five to ten seconds
// later. Newcomers alone try again, twice; all others come back in their own time.
func (l Login) Again(t time.Time) (again Login, ok bool) {
	if l.Class != Newcomer || l.Try >= tries {
		return Login{}, false
	}
	l.Try++
	l.At = t.Add(5*time.Second + time.Duration(t.UnixNano()%int64(5*time.Second)))
	return l, true
}

// Secret returns the password of an account. Those that attackers guess are never it.
func Secret(account string) string {
	return "secret-of-" + account
}

// A Crowd gives the logins of all who come. It is not safe for concurrent use.
type Generator struct {
	people  *people
	streams []*stream
}

// New returns the crowd of a site whose people log in normal times a second, from start on, while it is under the given
// attacks. The same seed gives the same people and the same logins.
func New(seed uint64, normal float64, start time.Time, attacks ...Attack) *Generator {
	c := &Generator{people: newPeople(normal)}
	c.streams = c.people.streams(seed, normal)
	for i, a := range attacks {
		c.streams = append(c.streams, a.stream(c.people, rand.New(rand.NewPCG(seed, uint64(100+i))), normal))
	}
	for _, s := range c.streams {
		s.start, s.at = start, start
	}
	return c
}

// Next returns the next login. There is always one more.
func (c *Generator) Next() Login {
	for {
		next := c.streams[0]
		for _, s := range c.streams[1:] {
			if s.at.Before(next.at) {
				next = s
			}
		}
		if l, ok := next.take(); ok {
			return l
		}
	}
}

// Residents returns one good login, with no time, of everybody who has been here before: what a gate may have learned
// before the crowd came.
func (c *Generator) KnownLogins() []Login {
	return c.people.residents()
}

// A stream is the logins of one class: as many a second as its rate says, at times that know nothing of each other.
type stream struct {
	class  Class
	who    func(i int) person                // makes the i-th login
	rate   func(since time.Duration) float64 // logins a second, zero for none
	chance *rand.Rand
	start  time.Time
	at     time.Time // of the next login, or of the next look at the rate
	taken  int
}

// pause is how long a stream without logins waits before it looks at its rate again.
const pause = 100 * time.Millisecond

// take moves s on and returns the login it had at that time, if it had one.
func (s *stream) take() (l Login, ok bool) {
	rate := s.rate(s.at.Sub(s.start))
	if rate == 0 {
		s.at = s.at.Add(pause)
		return Login{}, false
	}
	q := s.who(s.taken)
	l = Login{At: s.at, Class: s.class, Try: 1, Addr: q.addr, Account: q.account, Secret: q.secret}
	s.taken++
	s.at = s.at.Add(time.Duration(s.chance.ExpFloat64() / rate * float64(time.Second)))
	return l, true
}
