package bench

import (
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// postern knows the users of the site, by address or by password, and no one
// else.
func TestKnownState(t *testing.T) {
	start := time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)
	users := traffic.New(1, 1, start).KnownLogins()
	target := &target{loopback: true}
	files, err := knownState(start, users, target.sourceFor)
	if err != nil {
		t.Fatal(err)
	}
	l, err := limiter.New(limiter.Policy{KnownTTL: time.Hour * 720, TableMax: 1000}, limiter.Key(files["install-key"]))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(start, files["known"]); err != nil {
		t.Fatal(err)
	}
	known := func(addr netip.Addr, account, secret string) bool {
		ticket := l.Ask(start, limiter.Attempt{Addr: addr, Account: account, Credential: l.Credential(account, []byte(secret))})
		defer ticket.Settle(start, limiter.Void)
		return ticket.Verdict().Known
	}
	elsewhere := netip.MustParseAddr("127.200.1.1")
	for _, r := range users {
		home, err := target.sourceFor(r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if !known(home, r.Account, "mistyped") || !known(elsewhere, r.Account, r.Secret) {
			t.Fatalf("%s is not known", r.Account)
		}
		if known(elsewhere, r.Account, "mistyped") {
			t.Fatalf("%s is known with a wrong password from elsewhere", r.Account)
		}
	}
}

func TestKnownStateWithoutUsers(t *testing.T) {
	if files, err := knownState(time.Time{}, nil, (&target{}).sourceFor); files != nil || err != nil {
		t.Errorf("%v, %v", files, err)
	}
}
