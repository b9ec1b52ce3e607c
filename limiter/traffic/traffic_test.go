package traffic

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// start is when every Generator of these tests starts.
var start = time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)

// logins returns the logins of the usual site under attack in the first d.
func logins(d time.Duration, attacks ...Attack) []Login {
	g, peak := New(1, Normal, start, attacks...), 1.0
	for _, a := range attacks {
		peak += a.Peak() - 1
	}
	all := make([]Login, 0, int(1.1*peak*Normal*d.Seconds())) // the race detector makes growing it slow
	for l := g.Next(); l.At.Sub(start) < d; l = g.Next() {
		all = append(all, l)
	}
	return all
}

// usual are the logins without an attack.
var usual = sync.OnceValue(func() []Login { return logins(16 * time.Minute) })

// loginsOf returns the logins of class c in the first d without an attack, at most 16 minutes.
func loginsOf(c Class, d time.Duration) []Login {
	end, _ := slices.BinarySearchFunc(usual(), start.Add(d), func(l Login, t time.Time) int { return l.At.Compare(t) })
	return only(c, usual()[:end])
}

// only returns the logins of class c.
func only(c Class, logins []Login) []Login {
	of := make([]Login, 0, len(logins))
	for _, l := range logins {
		if l.Class == c {
			of = append(of, l)
		}
	}
	return of
}

// about fails unless got is within a tenth of want.
func about(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/10 {
		t.Errorf("%s: %.2f, want about %.2f", what, got, want)
	}
}

// countBy returns how many of the logins have each value of key.
func countBy[K comparable](logins []Login, key func(Login) K) map[K]int {
	count := map[K]int{}
	for _, l := range logins {
		count[key(l)]++
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
	all := logins(5*time.Minute, Steady(Few, 0, 10))
	for c, want := range map[Class]float64{Phone: 48, Office: 3, Traveller: 4.2, Stale: 3, Newcomer: 1.8, Attacker: 540} {
		logins := only(c, all)
		about(t, c.String()+"s a second", float64(len(logins))/300, want)
		last := start
		for _, l := range logins {
			if l.At.Before(last) || l.Try != 1 {
				t.Fatalf("%v at %v after %v, try %d", c, l.At, last, l.Try)
			}
			last = l.At
		}
	}
}

func TestSameSeedSameLogins(t *testing.T) {
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
		t.Error("another seed gives the same logins")
	}
}

// A phone is one account at one address that logs in every five minutes.
func TestPhonesPollFromFixedAddresses(t *testing.T) {
	logins := loginsOf(Phone, 16*time.Minute)
	home, last, six := map[string]netip.Addr{}, map[string]time.Time{}, 0
	for _, l := range logins {
		if old, ok := home[l.Account]; ok && old != l.Addr {
			t.Fatalf("%s moved from %v to %v", l.Account, old, l.Addr)
		}
		if before, ok := last[l.Account]; ok {
			about(t, l.Account+": minutes between logins", l.At.Sub(before).Minutes(), 5)
		}
		if home[l.Account], last[l.Account] = l.Addr, l.At; l.Addr.Is6() {
			six++
		}
		if !l.Good() {
			t.Fatalf("%s has a wrong password", l.Account)
		}
	}
	about(t, "phones", float64(len(home)), 48*300)
	about(t, "logins by IPv6", float64(six), float64(len(logins))/3)
	if n := len(countBy(logins, addr)); n != len(home) {
		t.Errorf("%d phones at %d addresses", len(home), n)
	}
}

func TestOfficeUsersShareOneAddress(t *testing.T) {
	logins := loginsOf(Office, 10*time.Minute)
	if addrs, accounts := countBy(logins, addr), countBy(logins, account); len(addrs) != 1 || len(accounts) != 360 {
		t.Errorf("%d accounts at %d addresses", len(accounts), len(addrs))
	}
	if slices.ContainsFunc(logins, func(l Login) bool { return !l.Good() || !l.Addr.Is4() }) {
		t.Error("a wrong password, or no IPv4 address")
	}
}

// Travellers have known accounts and new addresses.
func TestTravellersUseTheirPasswordFromNewAddresses(t *testing.T) {
	known := map[string]string{}
	for _, l := range New(1, Normal, start).KnownLogins() {
		known[l.Account] = l.Secret
	}
	logins := loginsOf(Traveller, 10*time.Minute)
	for _, l := range logins {
		if known[l.Account] != l.Secret || !l.Good() {
			t.Fatalf("%s is not known, or has another password", l.Account)
		}
	}
	if n := len(countBy(logins, addr)); n != len(logins) {
		t.Errorf("%d logins from %d addresses", len(logins), n)
	}
}

func TestStalePhonesRepeatOneWrongPassword(t *testing.T) {
	logins := loginsOf(Stale, 10*time.Minute)
	tries := countBy(logins, account)
	about(t, "phones", float64(len(tries)), 60)
	for a, n := range tries {
		about(t, a+" tries", float64(n), 30)
	}
	if n := len(countBy(logins, secret)); n != len(tries) {
		t.Errorf("%d phones with %d passwords", len(tries), n)
	}
	if n := len(countBy(logins, addr)); n != len(tries) {
		t.Errorf("%d phones at %d addresses", len(tries), n)
	}
	if slices.ContainsFunc(logins, Login.Good) {
		t.Error("a stale password is right")
	}
}

// A newcomer has a new account and a new address, and gives up after three tries.
func TestNewcomersAreNew(t *testing.T) {
	known := New(1, Normal, start).KnownLogins()
	accounts, addrs := countBy(known, account), countBy(known, addr)
	logins := loginsOf(Newcomer, 10*time.Minute)
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
		t.Errorf("got %d tries of a newcomer, want 3", n)
	}
	for _, c := range []Class{Phone, Office, Traveller, Stale, Attacker} {
		if _, ok := (Login{Class: c, Try: 1}).Again(start); ok {
			t.Errorf("%v tries again at once", c)
		}
	}
}

func TestKnownLoginsAreOfAllUsers(t *testing.T) {
	home := map[string]netip.Addr{}
	for _, l := range New(1, Normal, start).KnownLogins() {
		if !l.Good() {
			t.Fatalf("%s has a wrong password", l.Account)
		}
		home[l.Account] = l.Addr
	}
	for _, c := range []Class{Phone, Office, Stale} {
		for _, l := range loginsOf(c, time.Minute) {
			if home[l.Account] != l.Addr {
				t.Fatalf("%v %s is known from %v, not %v", c, l.Account, home[l.Account], l.Addr)
			}
		}
	}
}
