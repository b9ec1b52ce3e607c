package traffic

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// start is when every crowd of these tests begins.
var start = time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)

// gather returns the logins of a class in the first d of the crowd of the usual site under attack.
func gather(c Class, d time.Duration, attacks ...Attack) (logins []Login) {
	crowd := New(1, Normal, start, attacks...)
	for {
		l := crowd.Next()
		if l.At.Sub(start) >= d {
			return logins
		}
		if l.Class == c {
			logins = append(logins, l)
		}
	}
}

// near fails unless got is within a tenth of want.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/10 {
		t.Errorf("%s: %.2f, want about %.2f", what, got, want)
	}
}

// by returns how many of the logins have each of what of says.
func by[K comparable](logins []Login, of func(Login) K) map[K]int {
	count := map[K]int{}
	for _, l := range logins {
		count[of(l)]++
	}
	return count
}

func addr(l Login) netip.Addr { return l.Addr }
func account(l Login) string  { return l.Account }
func secret(l Login) string   { return l.Secret }

// network returns the /24 or the /48 of a login.
func network(l Login) netip.Prefix {
	bits := 48
	if l.Addr.Is4() {
		bits = 24
	}
	p, _ := l.Addr.Prefix(bits)
	return p
}

func TestEachClassHasItsShare(t *testing.T) {
	for c, want := range map[Class]float64{Phone: 48, Office: 3, Traveller: 4.2, Stale: 3, Newcomer: 1.8, Attacker: 540} {
		logins := gather(c, 5*time.Minute, Steady(Few, 0, 10))
		near(t, c.String()+"s a second", float64(len(logins))/300, want)
		last := start
		for _, l := range logins {
			if l.At.Before(last) || l.Try != 1 {
				t.Fatalf("%v at %v after %v, try %d", c, l.At, last, l.Try)
			}
			last = l.At
		}
	}
}

func TestSameSeedSameCrowd(t *testing.T) {
	a, b := New(7, Normal, start, Steady(Wide, 0, 4)), New(7, Normal, start, Steady(Wide, 0, 4))
	other, differ := New(8, Normal, start, Steady(Wide, 0, 4)), false
	for range 10_000 {
		l := a.Next()
		if m := b.Next(); l != m {
			t.Fatalf("%v and %v", l, m)
		}
		differ = differ || l != other.Next()
	}
	if !differ {
		t.Error("another seed gives the same crowd")
	}
}

// A phone is one account at one address, which comes back after five minutes.
func TestPhonesPollFromStableAddresses(t *testing.T) {
	logins := gather(Phone, 16*time.Minute)
	home, last, six := map[string]netip.Addr{}, map[string]time.Time{}, 0
	for _, l := range logins {
		if old, ok := home[l.Account]; ok && old != l.Addr {
			t.Fatalf("%s moved from %v to %v", l.Account, old, l.Addr)
		}
		if before, ok := last[l.Account]; ok {
			near(t, l.Account+" comes back", l.At.Sub(before).Minutes(), 5)
		}
		if home[l.Account], last[l.Account] = l.Addr, l.At; l.Addr.Is6() {
			six++
		}
		if !l.Good() {
			t.Fatalf("%s has a wrong password", l.Account)
		}
	}
	near(t, "phones", float64(len(home)), 48*300)
	near(t, "logins by IPv6", float64(six), float64(len(logins))/3)
	if n := len(by(logins, addr)); n != len(home) {
		t.Errorf("%d phones at %d addresses", len(home), n)
	}
}

func TestOfficeIsManyBehindOneAddress(t *testing.T) {
	logins := gather(Office, 10*time.Minute)
	if addrs, accounts := by(logins, addr), by(logins, account); len(addrs) != 1 || len(accounts) != 360 {
		t.Errorf("%d accounts at %d addresses", len(accounts), len(addrs))
	}
	if slices.ContainsFunc(logins, func(l Login) bool { return !l.Good() || !l.Addr.Is4() }) {
		t.Error("a wrong password, or no NAT")
	}
}

// Travellers are known, their addresses are not.
func TestTravellersBringTheirPasswordToNewAddresses(t *testing.T) {
	home := map[string]string{}
	for _, l := range New(1, Normal, start).KnownLogins() {
		home[l.Account] = l.Secret
	}
	logins := gather(Traveller, 10*time.Minute)
	for _, l := range logins {
		if home[l.Account] != l.Secret || !l.Good() {
			t.Fatalf("%s is not at home anywhere, or has another password", l.Account)
		}
	}
	if n := len(by(logins, addr)); n != len(logins) {
		t.Errorf("%d logins from %d addresses", len(logins), n)
	}
}

func TestStalePhonesRepeatOneWrongPassword(t *testing.T) {
	logins := gather(Stale, 10*time.Minute)
	tries := by(logins, account)
	near(t, "phones", float64(len(tries)), 60)
	for a, n := range tries {
		near(t, a+" tries", float64(n), 30)
	}
	if n := len(by(logins, secret)); n != len(tries) {
		t.Errorf("%d phones with %d passwords", len(tries), n)
	}
	if n := len(by(logins, addr)); n != len(tries) {
		t.Errorf("%d phones at %d addresses", len(tries), n)
	}
	if slices.ContainsFunc(logins, Login.Good) {
		t.Error("a stale password is right")
	}
}

// Nobody has seen a newcomer before, and it gives up after three tries.
func TestNewcomersAreNew(t *testing.T) {
	residents := New(1, Normal, start).KnownLogins()
	accounts, addrs := by(residents, account), by(residents, addr)
	logins := gather(Newcomer, 10*time.Minute)
	for _, l := range logins {
		if accounts[l.Account] > 0 || addrs[l.Addr] > 0 || !l.Good() {
			t.Fatalf("%+v is not new", l)
		}
		accounts[l.Account]++
		addrs[l.Addr]++
	}
	l, n := logins[0], 1
	for again, ok := l.Again(l.At); ok; again, ok = again.Again(again.At) {
		n++
		if pause := again.At.Sub(l.At); pause < 5*time.Second || pause > 10*time.Second || again.Account != l.Account ||
			again.Addr != l.Addr || again.Try != n {
			t.Errorf("try %d is %+v after %+v", n, again, l)
		}
		l = again
	}
	if n != 3 {
		t.Errorf("a newcomer tries %d times", n)
	}
	for _, c := range []Class{Phone, Office, Traveller, Stale, Attacker} {
		if _, ok := (Login{Class: c, Try: 1}).Again(start); ok {
			t.Errorf("%v comes again at once", c)
		}
	}
}

func TestResidentsAreEverybodyWhoWasHere(t *testing.T) {
	residents := New(1, Normal, start).KnownLogins()
	lives := map[string]netip.Addr{}
	for _, l := range residents {
		if !l.Good() {
			t.Fatalf("%s has a wrong password", l.Account)
		}
		lives[l.Account] = l.Addr
	}
	for _, c := range []Class{Phone, Office, Stale} {
		for _, l := range gather(c, time.Minute) {
			if lives[l.Account] != l.Addr {
				t.Fatalf("%v %s lives at %v, not %v", c, l.Account, lives[l.Account], l.Addr)
			}
		}
	}
}
