package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// The fingerprints of tests. What they say does not matter to the limiter.
const (
	popular = "t13d2613h2_2802a3db6c62_845d286b0d67"
	rare    = "t13d131000_f57a46bbacb6_ab7e3b40a677"
	bot     = "t13d181100_85036bcba153_d41ae481755e"
)

// A ja4Site is a limiter of a site at one time, with attempts of clients that have fingerprints.
type ja4Site struct {
	*Limiter
	t    testing.TB
	time time.Time
}

// newJA4Site returns a site to which users have logged in: 950 with the popular client, 50 with the rare one or, if
// rareUsers is not 50, that many.
func newJA4Site(t testing.TB, rareUsers int) *ja4Site {
	t.Helper()
	p := reservePolicy()
	p.Network, p.Account, p.TableMax = Rate{}, Rate{}, 1<<20
	s := &ja4Site{newLimiter(t, p), t, start}
	for i := range 950 {
		s.accepted(i, fmt.Sprintf("popular%d", i), popular)
	}
	for i := range rareUsers {
		s.accepted(i, fmt.Sprintf("rare%d", i), rare)
	}
	return s
}

// attempt is one to account with a password of its own, from the network with the given number: one in each /16.
func (s *ja4Site) attempt(network int, account, ja4 string) Attempt {
	addr := netip.AddrFrom4([4]byte{byte(1 + network%200), byte(network / 200), 2, 1})
	return Attempt{Addr: addr, Account: account, Credential: s.Credential(account, []byte(account+"'s")), JA4: ja4}
}

func (s *ja4Site) settle(a Attempt, o Outcome) {
	k := s.Ask(s.time, a)
	k.Settle(s.time, o)
}

func (s *ja4Site) accepted(network int, account, ja4 string) {
	s.settle(s.attempt(network, account, ja4), Accepted)
}

// guess denies n guesses at accounts that nobody has, from as many networks as given.
func (s *ja4Site) guess(n, networks int, ja4 string) {
	for i := range n {
		s.settle(s.attempt(1000+i%networks, fmt.Sprintf("guess%d.%d", networks, i), ja4), Denied)
	}
}

// expect fails the test unless an attempt to account from a new network has the priority want.
func (s *ja4Site) expect(account, ja4, want string) {
	s.t.Helper()
	k := s.Ask(s.time, s.attempt(900, account, ja4))
	defer k.Settle(s.time, Void)
	if got := k.Priority().String(); got != want {
		s.t.Errorf("%s with %s: got priority %q, want %q", account, ja4, got, want)
	}
	if a := k.Verdict().Action; a == Refuse {
		s.t.Errorf("%s with %s: got refused, want a rank only", account, ja4)
	}
}

func TestStrangersWithJA4OfAttackGoLast(t *testing.T) {
	s := newJA4Site(t, 50)
	s.expect("new", bot, "stranger")
	s.guess(200, 100, bot)
	s.expect("new", bot, "penalized stranger")
	s.expect("new", popular, "stranger")
	s.expect("new", rare, "stranger")
	s.expect("new", "", "stranger") // in clear text
	s.expect("popular7", bot, "known")
}

// What an attack has left is forgotten after two hours, not what users have.
func TestJA4OfAttackIsForgotten(t *testing.T) {
	s := newJA4Site(t, 50)
	s.guess(200, 100, bot)
	s.time = s.time.Add(59 * time.Minute)
	s.expect("new", bot, "penalized stranger")
	s.time = s.time.Add(61 * time.Minute)
	s.expect("new", bot, "stranger")
	s.guess(200, 100, bot)
	s.expect("new", bot, "penalized stranger")
	s.time = s.time.Add(50 * time.Hour) // nobody has logged in for so long: nothing can be said
	s.guess(200, 100, bot)
	s.expect("new", bot, "stranger")
}

// An attacker who guesses with the fingerprint of a client that users have does not change its rank, however many
// guesses there are, and however many other fingerprints are used before to remove what is known of it.
func TestJA4OfUsersCannotBePoisoned(t *testing.T) {
	s := newJA4Site(t, 50)
	for i := range 3 * ja4Kept {
		s.guess(1, 1, fmt.Sprintf("t13d%d", i))
		s.accepted(3, "stolen", fmt.Sprintf("t12d%d", i))
	}
	for _, ja4 := range []string{popular, rare} {
		s.guess(3000, 1000, ja4)
		s.expect("new", ja4, "stranger")
	}
	if a, d := len(s.ja4s.accepted), len(s.ja4s.denied); a > ja4Kept || d > ja4Kept {
		t.Errorf("got %d and %d fingerprints, want at most %d of each", a, d, ja4Kept)
	}
}

// Of a client that 3 of 1000 users have, an attacker can make strangers go last. Its users are known, so they do not.
func TestPoisonedJA4DoesNotChangeKnownUsers(t *testing.T) {
	s := newJA4Site(t, 3)
	s.guess(200, 100, rare)
	s.expect("new", rare, "penalized stranger")
	s.expect("rare1", rare, "known") // by the password, from a new network
}

func TestJA4NeedsManyNetworks(t *testing.T) {
	s := newJA4Site(t, 50)
	s.guess(5000, 15, bot)
	s.expect("new", bot, "stranger")
	for i := range 1000 { // networks of one prefix
		a := s.attempt(0, fmt.Sprintf("u%d", i), bot)
		a.Addr = netip.AddrFrom4([4]byte{203, 0, byte(i), 1})
		s.settle(a, Denied)
	}
	for i := range 1000 {
		a := s.attempt(0, fmt.Sprintf("v%d", i), bot)
		a.Addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)})
		s.settle(a, Denied)
	}
	s.expect("new", bot, "stranger")
	s.guess(200, 100, bot)
	s.expect("new", bot, "penalized stranger")
}

// A stolen account counts once, however often an attacker logs in with it, and a client with several users is not that of
// an attack even if it is denied more often.
func TestStolenAccountDoesNotProtectJA4(t *testing.T) {
	s := newJA4Site(t, 50)
	s.guess(200, 100, bot)
	for range 1000 {
		s.accepted(5, "popular1", bot)
	}
	s.expect("new", bot, "penalized stranger")
	for i := range 30 {
		s.accepted(i, fmt.Sprintf("popular%d", i), bot)
	}
	s.expect("new", bot, "stranger")
}

// At a site where fewer than 200 accounts have logged in, nothing can be said about a fingerprint.
func TestJA4NeedsAcceptedAccounts(t *testing.T) {
	s := &ja4Site{newLimiter(t, reservePolicy()), t, start}
	for i := range 150 {
		s.accepted(i, fmt.Sprintf("popular%d", i), popular)
	}
	s.guess(200, 100, bot)
	s.expect("new", bot, "stranger")
}

// What is denied to the known, to tokens, to clients behind exempt addresses and as a repeat is no guess.
func TestJA4CountsGuessesOfStrangersOnly(t *testing.T) {
	s := newJA4Site(t, 50)
	p := s.rules.Load().Policy
	p.Exempt = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	if err := s.SetPolicy(s.time, p); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		known := s.attempt(i, fmt.Sprintf("popular%d", i), bot)
		known.Credential = s.Credential(known.Account, []byte("mistyped"))
		token := s.attempt(i, "token", bot)
		token.Token = true
		exempt := s.attempt(i, fmt.Sprintf("webmail%d", i), bot)
		exempt.Addr = netip.MustParseAddr("198.51.100.7")
		for _, a := range []Attempt{known, token, exempt} {
			s.settle(a, Denied)
		}
	}
	for range 300 {
		s.settle(s.attempt(1, "old", bot), Denied)
	}
	for _, d := range s.ja4s.denied {
		if d.denials() > 1 {
			t.Errorf("got %d denials, want 1: that of the first old password", d.denials())
		}
	}
}

func TestExportKeepsJA4(t *testing.T) {
	old := newJA4Site(t, 50)
	old.guess(200, 100, bot)
	old.time = old.time.Add(30 * time.Minute)
	data, feed := old.Export(old.time)
	feed.Close()
	s := &ja4Site{newLimiter(t, old.rules.Load().Policy), t, old.time}
	if err := s.Import(s.time, data, 1); err != nil {
		t.Fatal(err)
	}
	s.expect("new", bot, "penalized stranger")
	s.expect("new", popular, "stranger")
	s.guess(200, 100, popular)
	s.expect("new", popular, "stranger")
	s.time = s.time.Add(91 * time.Minute)
	s.expect("new", bot, "stranger")
}

// An estimate is right to about three standard deviations.
func TestDistinct(t *testing.T) {
	h := newHasher([32]byte{7})
	for _, n := range []int{0, 1, 5, 30, 300, 10_000} {
		var few ja4Registers
		var many [1024]uint8
		for i := range n {
			k := h.account(fmt.Sprint(i))
			addDistinct(few[:], k.hi)
			addDistinct(many[:], k.hi)
		}
		for name, tc := range map[string]struct{ got, off float64 }{
			"64 registers": {distinctIn(few[:], few[:]), 0.4}, "1024 registers": {distinctIn(many[:], many[:]), 0.1},
		} {
			if d := tc.got - float64(n); d < -tc.off*float64(n)-0.5 || d > tc.off*float64(n)+0.5 {
				t.Errorf("%s: got %.1f, want about %d", name, tc.got, n)
			}
		}
	}
}

func BenchmarkAskWithJA4(b *testing.B) {
	for _, ja4 := range []string{"", popular, bot} {
		b.Run("ja4="+ja4, func(b *testing.B) {
			s := newJA4Site(b, 50)
			s.guess(200, 100, bot)
			a := s.attempt(900, "new", ja4)
			for b.Loop() {
				k := s.Ask(s.time, a)
				k.Settle(s.time, Void)
			}
		})
	}
}
