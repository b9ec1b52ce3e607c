//go:build !race

package limiter_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// officeAddr is the address of an office that an operator has allowed. Nobody has logged in from there before.
var officeAddr = netip.MustParseAddr("100.127.255.1")

const (
	officeUsers  = 200
	officeArrive = 3 * time.Minute // in which all of them log in for the first time
	officeTries  = 12              // a mail program tries again and again
)

// addOffice adds the users of the office, whose accounts are known nowhere.
func (s *simulation) addOffice() {
	for i := range officeUsers {
		account := fmt.Sprint("office-", i)
		l := traffic.Login{
			At: s.now.Add(time.Duration(i) * officeArrive / officeUsers), Class: traffic.SharedNewcomer, Try: 1, Tries: officeTries,
			Addr: officeAddr, Account: account, Secret: traffic.Secret(account),
		}
		s.at(l.At, func() { s.arrive(&attempt{Login: l, firstTry: l.At}) })
	}
}

// addBot adds a client in the office that guesses so many times a second, each time another password of a known account.
func (s *simulation) addBot(rate int, victims []traffic.Login) {
	rnd := rand.New(rand.NewPCG(1, 15))
	var guess func(i int)
	guess = func(i int) {
		l := traffic.Login{
			At: s.now, Class: traffic.Attacker, Try: 1, Tries: 1, Addr: officeAddr,
			Account: victims[rnd.IntN(len(victims))].Account, Secret: fmt.Sprint("guess-", i),
		}
		s.arrive(&attempt{Login: l, firstTry: l.At})
		s.at(s.now.Add(time.Second/time.Duration(rate)), func() { guess(i + 1) })
	}
	s.at(s.now, func() { guess(0) })
}

// An office of new users that an operator has allowed logs in during an attack of ten times normal, and a bot there that
// guesses as fast as it can takes nothing from the users who are known. It can use up the share of the office, though. `go test -run AllowedOffice -v` prints a table.
func TestSimulationOfAllowedOffice(t *testing.T) {
	for _, o := range []struct {
		name           string
		allowed        bool
		users          bool
		bot            int // guesses a second
		attack         traffic.Kind
		times          float64
		acceptedOffice float64 // per cent of the users there, at least
	}{
		{"not allowed", false, true, 0, traffic.Wide, 10, 0},
		{"office", true, true, 0, traffic.Wide, 10, 100},
		{"office, hang-ups", true, true, 0, traffic.HangUp, 10, 100},
		{"bot", true, false, 1000, traffic.Wide, 1, 0},
		{"bot in the office", true, true, 1000, traffic.Wide, 10, 0},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			l, c := newLimiter(t), traffic.New(1, traffic.Normal, attackStart, traffic.Steady(o.attack, warmUp, o.times))
			acceptAll(l, c.KnownLogins())
			if o.allowed {
				l.SetLists(limiter.Lists{Allowed: []netip.Prefix{limiter.Network(officeAddr)}})
			}
			s := newSimulation(l, c, attackStart)
			s.run(attackStart.Add(warmUp))
			if o.users {
				s.addOffice()
			}
			if o.bot > 0 {
				s.addBot(o.bot, c.KnownLogins())
			}
			r := s.measure(officeArrive)
			known, office := r.knownClients(), r.byClass[traffic.SharedNewcomer]
			t.Logf("known %.2f %%, p99 waits %v; office %.1f %%, %.1f %% at the first try, p99 waits %v, refused by %v",
				known.acceptedPercent(), known.wait(99), office.acceptedPercent(), percent(office.firstTry, office.clients), office.wait(99), office.refusals)
			if known.acceptedPercent() < 99.99 || known.wait(99) > 0 {
				t.Errorf("known: %.2f %% accepted, p99 waits %v, refused by %v", known.acceptedPercent(), known.wait(99), known.refusals)
			}
			if o.acceptedOffice > 0 && (office.clients != officeUsers || office.acceptedPercent() < o.acceptedOffice) {
				t.Errorf("office: %d users, %.1f %% accepted, refused by %v", office.clients, office.acceptedPercent(), office.refusals)
			}
			if first := percent(office.firstTry, office.clients); o.users && !o.allowed && first > 60 || o.acceptedOffice > 0 && first < 90 {
				t.Errorf("office: %.1f %% accepted at the first try, want more than 90 if it is allowed, and else so few that the test tests enough", first)
			}
		})
	}
}
