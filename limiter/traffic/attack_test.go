package traffic

import (
	"net/netip"
	"testing"
	"time"
)

// attack returns the logins of the first minutes of an attack at ten times normal.
func attack(t *testing.T, k Kind) []Login {
	t.Helper()
	logins := gather(Attacker, 3*time.Minute, Steady(k, 0, 10))
	near(t, "tries a second", float64(len(logins))/180, 540)
	for _, l := range logins {
		if l.Good() && (k != Insider || l.Account != insiderAccount) {
			t.Fatalf("%v guessed the password of %s", k, l.Account)
		}
	}
	return logins
}

func TestFewIsTenLoudAddresses(t *testing.T) {
	logins := attack(t, Few)
	tries := by(logins, addr)
	if len(tries) != 10 {
		t.Errorf("%d addresses", len(tries))
	}
	for a, n := range tries {
		near(t, a.String()+" tries a second", float64(n)/180, 54)
	}
	if n := len(by(logins, account)); n < 10_000 {
		t.Errorf("guesses at %d accounts", n)
	}
}

// No address tries more than about once a minute, and no two share a network, however strong the attack is.
func TestWideIsOneTryAMinuteEach(t *testing.T) {
	for _, tc := range []struct{ times, addresses float64 }{{2, 20_000}, {1 + 20_000./60/Normal, 20_000}, {30, 104_400}} {
		logins := gather(Attacker, 65*time.Second, Steady(Wide, 0, tc.times))
		seen, last := by(logins, addr), map[netip.Addr]time.Time{}
		if tc.times > 6 {
			near(t, "addresses", float64(len(seen)), tc.addresses)
		} else if float64(len(seen)) > tc.addresses {
			t.Errorf("%d addresses at %v times normal", len(seen), tc.times)
		}
		if n := len(by(logins, network)); n != len(seen) {
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

func TestTargetIsOneAccountFromEverywhere(t *testing.T) {
	logins := attack(t, Target)
	accounts := by(logins, account)
	if owner := gather(Phone, 6*time.Minute); len(accounts) != 1 || by(owner, account)[logins[0].Account] == 0 {
		t.Errorf("%d accounts, or one that nobody has", len(accounts))
	}
	if n := len(by(logins, addr)); n != len(logins) {
		t.Errorf("%d tries from %d addresses", len(logins), n)
	}
}

// One password is tried at everybody's account before the next one is.
func TestSprayIsFewPasswordsOverAllAccounts(t *testing.T) {
	logins := attack(t, Spray)
	if n := len(by(logins, addr)); n != 2000 {
		t.Errorf("%d addresses", n)
	}
	everybody := len(New(1, Normal, start).KnownLogins())
	first := logins[:everybody]
	if passwords, accounts := len(by(first, secret)), len(by(first, account)); passwords != 1 || accounts != everybody {
		t.Errorf("%d passwords tried at %d accounts before any is tried again; there are %d", passwords, accounts, everybody)
	}
	if n := len(by(logins, secret)); n != 5 {
		t.Errorf("%d passwords", n)
	}
}

func TestHopIsAnotherSourceEachTimeInFewNetworks(t *testing.T) {
	logins := attack(t, Hop)
	sources := by(logins, func(l Login) netip.Prefix {
		p, _ := l.Addr.Prefix(64)
		return p
	})
	if len(sources) != len(logins) {
		t.Errorf("%d tries from %d /64s", len(logins), len(sources))
	}
	if n := len(by(logins, network)); n != 50 {
		t.Errorf("%d /48s", n)
	}
}

// Each address of the insider logs in with its good account, guesses twice, and does so again.
func TestInsiderLaundersAddresses(t *testing.T) {
	logins := attack(t, Insider)
	for i, l := range logins {
		if l.Good() != (i%3 == 0) || l.Addr != logins[i/3*3].Addr {
			t.Fatalf("login %d is %+v", i, l)
		}
		if !l.Good() && l.Account == insiderAccount {
			t.Fatalf("the insider guesses at its own account")
		}
	}
	if n := len(by(logins, addr)); n != 500 {
		t.Errorf("%d addresses", n)
	}
}

// Nobody attacks from where people are, and on the loopback network nobody is taken for somebody else.
func TestNobodyLivesAmongAttackers(t *testing.T) {
	people, loopback := map[netip.Prefix]bool{}, map[netip.Addr]netip.Addr{}
	note := func(l Login) {
		addr, ok := Loopback(l.Addr)
		if old, taken := loopback[addr]; !ok || taken && old != l.Addr || addr.As4()[0] != 127 {
			t.Fatalf("%v and %v are both %v", old, l.Addr, addr)
		}
		loopback[addr] = l.Addr
	}
	for _, c := range []Class{Phone, Office, Traveller, Stale, Newcomer} {
		for _, l := range gather(c, 5*time.Minute) {
			people[network(l)] = true
			note(l)
		}
	}
	for _, k := range Kinds() {
		for _, l := range gather(Attacker, time.Minute, Steady(k, 0, 10)) {
			if people[network(l)] {
				t.Fatalf("%v from %v, where people are", k, l.Addr)
			}
			if k != Hop {
				note(l)
			} else if _, ok := Loopback(l.Addr); ok {
				t.Fatalf("%v hops on the loopback network", l.Addr)
			}
		}
	}
}

// The curve of the incident is the one that was measured.
func TestIncidentFollowsItsCurve(t *testing.T) {
	logins := by(gather(Attacker, 7*time.Minute, Incident(time.Minute, time.Minute)), func(l Login) int {
		return int(l.At.Sub(start) / time.Minute)
	})
	for minute, times := range []float64{1, 2.35, 3.09, 4.08, 4.27, 3.46, 1} {
		if times == 1 {
			if logins[minute] != 0 {
				t.Errorf("%d tries in minute %d", logins[minute], minute)
			}
			continue
		}
		near(t, "times normal", 1+float64(logins[minute])/60/Normal, times)
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range Kinds() {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("loud"); err == nil || err.Error() != `attack "loud": want one of [few wide target spray hop insider]` {
		t.Error(err)
	}
}
