package bench

import (
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// The gate takes everybody for known, wherever it believes them to be, and nobody else.
func TestMemoryOfResidents(t *testing.T) {
	begun := time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)
	residents := traffic.New(1, 1, begun).KnownLogins()
	target := &Target{loopback: true}
	files, err := memory(begun, residents, target.From)
	if err != nil {
		t.Fatal(err)
	}
	l, err := limiter.New(limiter.Policy{KnownTTL: time.Hour * 720, TableMax: 1000}, limiter.Key(files["install-key"]))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(begun, files["known"]); err != nil {
		t.Fatal(err)
	}
	known := func(addr netip.Addr, account, secret string) bool {
		ticket := l.Ask(begun, limiter.Attempt{Addr: addr, Account: account, Credential: l.Credential(account, []byte(secret))})
		defer ticket.Settle(begun, limiter.Void)
		return ticket.Verdict().Known
	}
	elsewhere := netip.MustParseAddr("127.200.1.1")
	for _, r := range residents {
		home, err := target.From(r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if !known(home, r.Account, "mistyped") || !known(elsewhere, r.Account, r.Secret) {
			t.Fatalf("%s is a stranger", r.Account)
		}
		if known(elsewhere, r.Account, "mistyped") {
			t.Fatalf("anybody is taken for %s", r.Account)
		}
	}
}

func TestNoMemoryWithoutResidents(t *testing.T) {
	if files, err := memory(time.Time{}, nil, (&Target{}).From); files != nil || err != nil {
		t.Errorf("%v, %v", files, err)
	}
}
