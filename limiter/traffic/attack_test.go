package traffic

import (
	"net/netip"
	"testing"
	"time"
)

// attackLogins returns the attempts of the first three minutes of an attack at ten times normal.
func attackLogins(t *testing.T, k Kind) []Login {
	t.Helper()
	logins := only(Attacker, logins(3*time.Minute, Steady(k, 0, 10)))
	about(t, "tries a second", float64(len(logins))/180, 540)
	for _, l := range logins {
		if l.Good() && (k != Insider || l.Account != insiderAccount) {
			t.Fatalf("%v guessed the password of %s", k, l.Account)
		}
	}
	return logins
}

func TestFewUsesTenAddresses(t *testing.T) {
	logins := attackLogins(t, Few)
	tries := countBy(logins, addr)
	if len(tries) != 10 {
		t.Errorf("%d addresses", len(tries))
	}
	for a, n := range tries {
		about(t, a.String()+" tries a second", float64(n)/180, 54)
	}
	if n := len(countBy(logins, account)); n < 10_000 {
		t.Errorf("guesses at %d accounts", n)
	}
}

// However strong the attack, each address tries at most about once a minute, and no two share a network.
func TestWideTriesOnceAMinute(t *testing.T) {
	for _, tc := range []struct{ times, addresses float64 }{{2, 20_000}, {1 + 20_000./60/Normal, 20_000}, {30, 104_400}} {
		logins := only(Attacker, logins(65*time.Second, Steady(Wide, 0, tc.times)))
		seen, last := countBy(logins, addr), map[netip.Addr]time.Time{}
		if tc.times > 6 {
			about(t, "addresses", float64(len(seen)), tc.addresses)
		} else if float64(len(seen)) > tc.addresses {
			t.Errorf("%d addresses at %v times normal", len(seen), tc.times)
		}
		if n := len(countBy(logins, network)); n != len(seen) {
			t.Errorf("%d addresses in %d networks", len(seen), n)
		}
		for _, l := range logins {
			if before, ok := last[l.Addr]; ok && l.At.Sub(before) < 55*time.Second {
				t.Fatalf("%v tries again after %v", l.Addr, l.At.Sub(before))
			}
			last[l.Addr] = l.At
		}
	}
}

func TestTargetTriesOneAccountFromEverywhere(t *testing.T) {
	logins := attackLogins(t, Target)
	accounts := countBy(logins, account)
	if phones := loginsOf(Phone, 6*time.Minute); len(accounts) != 1 || countBy(phones, account)[logins[0].Account] == 0 {
		t.Errorf("%d accounts, or one that is no phone's", len(accounts))
	}
	if n := len(countBy(logins, addr)); n != len(logins) {
		t.Errorf("%d tries from %d addresses", len(logins), n)
	}
}

// One password is tried at every account before the next one.
func TestSprayTriesFewPasswordsAtAllAccounts(t *testing.T) {
	logins := attackLogins(t, Spray)
	if n := len(countBy(logins, addr)); n != 2000 {
		t.Errorf("%d addresses", n)
	}
	users := len(New(1, Normal, start).KnownLogins())
	first := logins[:users]
	if passwords, accounts := len(countBy(first, secret)), len(countBy(first, account)); passwords != 1 || accounts != users {
		t.Errorf("got %d passwords at %d accounts before an account is tried again, want 1 at %d", passwords, accounts, users)
	}
	if n := len(countBy(logins, secret)); n != 5 {
		t.Errorf("%d passwords", n)
	}
}

func TestHopUsesManySourcesInFewNetworks(t *testing.T) {
	logins := attackLogins(t, Hop)
	sources := countBy(logins, func(l Login) netip.Prefix {
		p, _ := l.Addr.Prefix(64)
		return p
	})
	if len(sources) != len(logins) {
		t.Errorf("%d tries from %d /64s", len(logins), len(sources))
	}
	if n := len(countBy(logins, network)); n != 50 {
		t.Errorf("%d /48s", n)
	}
}

// Each address of the insider logs in with a valid account and then guesses twice, repeatedly.
func TestInsiderLogsInBetweenGuesses(t *testing.T) {
	logins := attackLogins(t, Insider)
	for i, l := range logins {
		if l.Good() != (i%3 == 0) || l.Addr != logins[i/3*3].Addr {
			t.Fatalf("login %d is %+v", i, l)
		}
		if !l.Good() && l.Account == insiderAccount {
			t.Fatalf("the insider guesses at their own account")
		}
	}
	if n := len(countBy(logins, addr)); n != 500 {
		t.Errorf("%d addresses", n)
	}
}

// Attackers and users share no network, except behind the shared address, and each IPv4 address has its own loopback
// address.
func TestAttackersAndUsersShareNoNetwork(t *testing.T) {
	users, loopback := map[netip.Prefix]bool{}, map[netip.Addr]netip.Addr{}
	note := func(l Login) {
		addr, ok := Loopback(l.Addr)
		if old, taken := loopback[addr]; !ok || taken && old != l.Addr || addr.As4()[0] != 127 {
			t.Fatalf("%v and %v are both %v", old, l.Addr, addr)
		}
		loopback[addr] = l.Addr
	}
	for _, c := range []Class{Phone, Office, Traveller, Stale, Newcomer} {
		for _, l := range loginsOf(c, 5*time.Minute) {
			users[network(l)] = true
			note(l)
		}
	}
	for _, k := range Kinds() {
		for _, l := range only(Attacker, logins(time.Minute, Steady(k, 0, 10))) {
			if users[network(l)] {
				t.Fatalf("%v from %v, a network of users", k, l.Addr)
			}
			if l.Addr.Is4() {
				note(l)
			} else if _, ok := Loopback(l.Addr); ok {
				t.Fatalf("%v has a loopback address", l.Addr)
			}
		}
	}
}

// The incident has the measured strength in each phase.
func TestIncidentFollowsItsCurve(t *testing.T) {
	logins := countBy(only(Attacker, logins(7*time.Minute, Incident(time.Minute, time.Minute))), func(l Login) int {
		return int(l.At.Sub(start) / time.Minute)
	})
	for minute, times := range []float64{1, 2.35, 3.09, 4.08, 4.27, 3.46, 1} {
		if times == 1 {
			if logins[minute] != 0 {
				t.Errorf("%d tries in minute %d", logins[minute], minute)
			}
			continue
		}
		about(t, "times normal", 1+float64(logins[minute])/60/Normal, times)
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range Kinds() {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("loud"); err == nil || err.Error() != `parsing a kind of attack: got "loud", want one of [few wide target spray hop insider stolen hangup impatient spray48 fresh48 shared shared-idle shared-burst]` {
		t.Error(err)
	}
}
