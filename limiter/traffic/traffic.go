// Package traffic generates the logins of a mail site: those of its users, and those of attackers. The simulations of
// the limiter, the load tool and the demo use the same generator, so their results are comparable.
//
// A [Generator] returns an endless sequence of logins by time, the same for the same seed. It has no clock and sends
// nothing: the program that uses it decides how each login ends, and asks [Login.Again] for the next try of one that
// was refused.
//
// # Users
//
// Together they log in [Normal] times a second, or at the rate given to [New]. Each class has its share:
//
//	phone      80 %    polls every five minutes from a fixed address at home; a third of the homes has IPv6
//	office      5 %    one of many users behind one IPv4 address
//	traveller   7 %    a user with a phone at home, with the right password, from an address never used before
//	stale       5 %    a phone that tries a password that its owner has changed, from home, every 20 s
//	newcomer    3 %    account and address never used before, in a network without attackers; tries three times
//
// Other classes are not part of the usual site. [Generator.Add] adds them, except for victims:
//
//	roaming         a user with a phone at home, with a new token, from an address never used before; tries three times
//	device          a user with a phone at home, whose device was accepted before, from an address never used before
//	owner           the owner of the account that the kind target attacks, with the right password, from an address never
//	                used before; tries three times
//	owner-device    the same, with a device that was accepted before
//	shared          300 phones behind one IPv4 address, each polling every five minutes
//	shared-token    a user with a token behind the same address; half of them were never there before
//	shared-newcomer an account never used before, behind the same address; tries three times
//	nearby          a newcomer in the IPv6 /32 of the kinds spray48 and fresh48, half of them in a /40 with attackers
//	victim          a phone or traveller whose account is stolen, see below
//
// # Attackers
//
// Their passwords are wrong, except for those of stolen accounts and some of the insider:
//
//	few        ten addresses that guess at all accounts, as fast as they can
//	wide       20,000 addresses or more, each in its own network and with at most one try a minute
//	target     one account, that of a phone, each try from another address
//	spray      five passwords, one after the other at all accounts, from 2,000 addresses
//	hop        another IPv6 /64 at each try, inside 50 /48s
//	insider    500 addresses; every third try is a valid login to an account of the attackers, and the next two, from the
//	           same address, are guesses
//	stolen     stolen accounts, with the right passwords, each from its own addresses
//	hangup     as many addresses as wide; each leaves a challenge of the backend unanswered for 1.9 s and then hangs up
//	impatient  like wide, but hangs up after waiting a second for an answer
//	spray48    one password, once at each of 50,000 accounts, each time from another /64, in 500 /48s
//	fresh48    the same with a new password each time
//
//	shared        one device behind the shared address that guesses at all accounts
//	shared-idle   one device there that keeps 40 idle connections open
//	shared-burst  one device there that guesses at ten accounts nobody has, at once, every ten minutes
package traffic

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Normal is the usual rate of the site, in logins a second.
const Normal = 60

// A Class is the kind of client that makes a login.
type Class uint8

// The classes. All but Attacker are users of the site.
const (
	Phone Class = iota
	Office
	Traveller
	Stale
	Newcomer
	Attacker
	Roaming
	Device
	Owner
	OwnerDevice
	Shared
	SharedToken
	SharedNewcomer
	Nearby
	Victim
)

// Classes returns all classes.
func Classes() []Class {
	return []Class{Phone, Office, Traveller, Stale, Newcomer, Attacker, Roaming, Device, Owner, OwnerDevice, Shared, SharedToken, SharedNewcomer, Nearby, Victim}
}

// String returns the name of c in the package comment.
func (c Class) String() string {
	return [...]string{
		"phone", "office", "traveller", "stale", "newcomer", "attacker", "roaming", "device", "owner", "owner-device",
		"shared", "shared-token", "shared-newcomer", "nearby", "victim",
	}[c]
}

// A Login is one attempt to log in.
type Login struct {
	At       time.Time
	Class    Class
	Try      int // 1 for the first; later ones are made by Again
	Tries    int // how often the client tries before giving up
	Addr     netip.Addr
	Account  string
	Secret   string
	Token    bool          // the secret is a token
	Device   uint64        // of the TLS session that the client resumes; zero for none
	Patience time.Duration // after waiting so long for an answer, the client hangs up; zero for never
	Hold     time.Duration // for how long the client leaves the backend's challenge unanswered before it hangs up; zero for not at all
	Idle     time.Duration // for how long the client stays connected without a command before it hangs up; zero for not at all
}

// Good reports whether the secret is the password of the account, so that a backend must accept it.
func (l Login) Good() bool {
	return l.Secret == Secret(l.Account)
}

// newcomerTries is how often a newcomer tries before giving up.
const newcomerTries = 3

// Again returns the next try of a client that was refused at time t, or got no answer by then: five to ten seconds
// later. ok is false after the last of its Tries; the next login then comes from the Generator.
func (l Login) Again(t time.Time) (again Login, ok bool) {
	if l.Try >= l.Tries {
		return Login{}, false
	}
	l.Try++
	l.At = t.Add(5*time.Second + time.Duration(t.UnixNano()%int64(5*time.Second)))
	return l, true
}

// Secret returns the password of account. Attackers never guess it.
func Secret(account string) string {
	return "secret-of-" + account
}

// A Generator generates the logins of a site. It is not safe for concurrent use.
type Generator struct {
	seed    uint64
	start   time.Time
	users   *users
	streams []*stream
}

// New returns a Generator for a site whose users log in normal times a second, from start on, under the given attacks.
// The same seed gives the same users and the same logins.
func New(seed uint64, normal float64, start time.Time, attacks ...Attack) *Generator {
	g := &Generator{seed: seed, start: start, users: newUsers(normal)}
	g.streams = g.users.streams(seed, normal)
	for i, a := range attacks {
		g.streams = append(g.streams, a.stream(g.users, rand.New(rand.NewPCG(seed, uint64(100+i))), normal))
	}
	for _, s := range g.streams {
		s.start, s.at = start, start
	}
	return g
}

// Next returns the next login.
func (g *Generator) Next() Login {
	for {
		next := g.streams[0]
		for _, s := range g.streams[1:] {
			if s.at.Before(next.at) {
				next = s
			}
		}
		if l, ok := next.take(); ok {
			return l
		}
	}
}

// KnownLogins returns one valid login, without a time, of each user with an account, and of each device: what the
// limiter may have learned before.
func (g *Generator) KnownLogins() []Login {
	return slices.Concat(g.users.all(), g.users.added)
}

// A stream generates logins, as a Poisson process of the given rate.
type stream struct {
	login func(i int) Login                 // the i-th, without a time
	rate  func(since time.Duration) float64 // logins a second, zero for none
	rnd   *rand.Rand
	start time.Time
	at    time.Time // of the next login, or of the next check of the rate
	taken int       // logins
}

// idleStep is the time between checks of the rate while it is zero.
const idleStep = 100 * time.Millisecond

// take returns the login at s.at and advances s.at; ok is false if there is none.
func (s *stream) take() (l Login, ok bool) {
	rate := s.rate(s.at.Sub(s.start))
	if rate == 0 {
		s.at = s.at.Add(idleStep)
		return Login{}, false
	}
	l = s.login(s.taken)
	l.At = s.at
	s.taken++
	s.at = s.at.Add(time.Duration(s.rnd.ExpFloat64() / rate * float64(time.Second)))
	return l, true
}
