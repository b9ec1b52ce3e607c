package traffic

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// addedLogins returns the logins of class c in the first d, if those log in rate times a second, and what is known
// before.
func addedLogins(c Class, rate float64, d time.Duration) (logins, known []Login) {
	g := New(1, Normal, start)
	g.Add(c, rate)
	for l := g.Next(); l.At.Sub(start) < d; l = g.Next() {
		logins = append(logins, l)
	}
	return only(c, logins), g.KnownLogins()
}

// Users at new addresses have accounts that are known from elsewhere.
func TestMobileUsersAreAtNewAddresses(t *testing.T) {
	for _, c := range []Class{Roaming, Device, Owner, OwnerDevice} {
		logins, known := addedLogins(c, 5, 5*time.Minute)
		about(t, c.String()+"s a second", float64(len(logins))/300, 5)
		accounts, addrs := countBy(known, account), countBy(known, addr)
		for _, l := range logins {
			if accounts[l.Account] == 0 || addrs[l.Addr] > 0 || !l.Good() || l.Token != (c == Roaming) {
				t.Fatalf("%+v", l)
			}
			addrs[l.Addr]++
			accepted := func(k Login) bool { return k.Account == l.Account && k.Device == l.Device }
			if devices := c == Device || c == OwnerDevice; devices != (l.Device != 0) || devices && !slices.ContainsFunc(known, accepted) {
				t.Fatalf("%+v: the device is not known", l)
			}
		}
	}
}

// All classes that can be added have their own addresses.
func TestAddedUsersShareNoAddress(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for _, c := range []Class{Traveller, Roaming, Device, Owner, OwnerDevice} {
		for _, l := range only(c, firstLogins(c)) {
			if seen[l.Addr] {
				t.Fatalf("%v at %v", c, l.Addr)
			}
			seen[l.Addr] = true
		}
	}
}

func firstLogins(c Class) []Login {
	if c == Traveller {
		return loginsOf(c, 5*time.Minute)
	}
	logins, _ := addedLogins(c, 5, 5*time.Minute)
	return logins
}

func TestSharedAddressHasManyUsers(t *testing.T) {
	for _, tc := range []struct {
		class    Class
		accounts int // in ten minutes, at one login a second
	}{{Shared, 300}, {SharedToken, sharedTokens + 300}, {SharedNewcomer, 600}} {
		logins, known := addedLogins(tc.class, 1, 10*time.Minute)
		about(t, tc.class.String()+" accounts", float64(len(countBy(logins, account))), float64(tc.accounts))
		here := countBy(only(tc.class, known), func(l Login) Login { return Login{Addr: l.Addr, Account: l.Account} })
		knownHere := 0
		for _, l := range logins {
			if l.Addr != sharedAddr || !l.Good() || l.Token != (tc.class == SharedToken) {
				t.Fatalf("%+v", l)
			}
			knownHere += here[Login{Addr: l.Addr, Account: l.Account}]
		}
		if want := map[Class]float64{Shared: 1, SharedToken: .5}[tc.class] * float64(len(logins)); want == 0 && knownHere > 0 {
			t.Errorf("%v: %d logins of accounts that are known there", tc.class, knownHere)
		} else if want > 0 {
			about(t, tc.class.String()+" logins that are known there", float64(knownHere), want)
		}
	}
}

// Nearby newcomers share a /32 with the attackers of kind spray48, and half of them a /40, but no /48.
func TestNearbyNewcomersShareWidePrefixes(t *testing.T) {
	attackers := only(Attacker, logins(10*time.Second, Steady(Spray48, 0, 2)))
	logins, known := addedLogins(Nearby, 5, time.Minute)
	prefix := func(bits int) func(Login) netip.Prefix {
		return func(l Login) netip.Prefix { return netip.PrefixFrom(l.Addr, bits).Masked() }
	}
	wide, narrow, networks := countBy(attackers, prefix(32)), countBy(attackers, prefix(40)), countBy(attackers, network)
	accounts, inNarrow := countBy(known, account), 0
	for _, l := range logins {
		if wide[prefix(32)(l)] == 0 || networks[network(l)] > 0 || accounts[l.Account] > 0 || !l.Good() {
			t.Fatalf("%+v", l)
		}
		if narrow[prefix(40)(l)] > 0 {
			inNarrow++
		}
	}
	about(t, "newcomers in a /40 with attackers", float64(inNarrow), float64(len(logins))/2)
	if n := len(countBy(logins, addr)); n != len(logins) {
		t.Errorf("%d newcomers at %d addresses", len(logins), n)
	}
}

// The attackers use the right passwords of the accounts, whose owners are counted apart.
func TestStolenAccountsAreUsedFromTheirAddresses(t *testing.T) {
	a := Steady(Stolen, 0, 1+200./Normal)
	a.Accounts, a.Addresses = 300, 3
	all := logins(time.Minute, a)
	stolen, addrs := only(Attacker, all), map[string]map[netip.Addr]bool{}
	about(t, "logins a second", float64(len(stolen))/60, 200)
	for _, l := range stolen {
		if !l.Good() {
			t.Fatalf("%+v has a wrong password", l)
		}
		if addrs[l.Account] == nil {
			addrs[l.Account] = map[netip.Addr]bool{}
		}
		addrs[l.Account][l.Addr] = true
	}
	for name, of := range addrs {
		if len(of) != 3 {
			t.Errorf("%s is used from %d addresses", name, len(of))
		}
	}
	if len(addrs) != 300 || len(countBy(stolen, network)) != 900 {
		t.Errorf("%d accounts from %d networks", len(addrs), len(countBy(stolen, network)))
	}
	for _, l := range all {
		if l.Class != Attacker && (l.Class == Victim) != (addrs[l.Account] != nil) {
			t.Fatalf("%+v: the account is stolen: %v", l, addrs[l.Account] != nil)
		}
	}
}

func TestSpray48TriesEachAccountOnce(t *testing.T) {
	for _, tc := range []struct {
		kind      Kind
		passwords int
	}{{Spray48, 1}, {Fresh48, spray48Accounts}} {
		logins := only(Attacker, logins(500*time.Second, Steady(tc.kind, 0, 1+110./Normal)))[:spray48Accounts]
		source := func(l Login) netip.Prefix { return netip.PrefixFrom(l.Addr, 64).Masked() }
		if n := len(countBy(logins, account)); n != spray48Accounts {
			t.Errorf("%v: %d accounts", tc.kind, n)
		}
		if n := len(countBy(logins, source)); n != spray48Accounts {
			t.Errorf("%v: %d /64s", tc.kind, n)
		}
		if n := len(countBy(logins, network)); n != 500 {
			t.Errorf("%v: %d /48s", tc.kind, n)
		}
		if n := len(countBy(logins, secret)); n != tc.passwords {
			t.Errorf("%v: %d passwords", tc.kind, n)
		}
	}
}

// The device that keeps connections open opens 40, and the one that guesses at once does so ten times every ten minutes.
func TestAttackersBehindTheSharedAddress(t *testing.T) {
	idle := only(Attacker, logins(21*time.Minute, Steady(SharedIdle, time.Minute, 2)))
	if len(idle) != 40 || slices.ContainsFunc(idle, func(l Login) bool { return l.Idle == 0 || l.Addr != sharedAddr }) {
		t.Errorf("got %d idle connections, want 40", len(idle))
	}
	burst := only(Attacker, logins(22*time.Minute, Steady(SharedBurst, time.Minute, 2)))
	minutes := countBy(burst, func(l Login) time.Duration { return l.At.Sub(start).Truncate(time.Second) })
	for _, at := range []time.Duration{time.Minute, 11 * time.Minute, 21 * time.Minute} {
		if minutes[at] != 10 {
			t.Errorf("%d guesses at %v", minutes[at], at)
		}
	}
	if len(burst) != 30 || len(countBy(burst, account)) != 30 {
		t.Errorf("%d guesses at %d accounts", len(burst), len(countBy(burst, account)))
	}
}

func TestHangUpNamesNoAccount(t *testing.T) {
	for _, l := range attackLogins(t, HangUp) {
		if l.Account != "" || l.Hold == 0 {
			t.Fatalf("%+v", l)
		}
	}
}
