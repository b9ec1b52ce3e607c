package limiter

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestSourceAndNetwork(t *testing.T) {
	for _, tc := range []struct{ addr, source, network string }{
		{"192.0.2.130", "192.0.2.130/32", "192.0.2.0/24"},
		{"::ffff:192.0.2.130", "192.0.2.130/32", "192.0.2.0/24"},
		{"::ffff:192.0.2.130%eth0", "192.0.2.130/32", "192.0.2.0/24"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"2001:db8:1:2:ffff::", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/64", "fe80::/48"},
		{"::", "::/64", "::/48"},
		{"::192.0.2.130", "::/64", "::/48"}, // IPv4-compatible, not mapped
		{"255.255.255.255", "255.255.255.255/32", "255.255.255.0/24"},
	} {
		addr := netip.MustParseAddr(tc.addr)
		if got := Source(addr).String(); got != tc.source {
			t.Errorf("Source(%s) = %s, want %s", addr, got, tc.source)
		}
		if got := Network(addr).String(); got != tc.network {
			t.Errorf("Network(%s) = %s, want %s", addr, got, tc.network)
		}
	}
	if Source(netip.Addr{}) != (netip.Prefix{}) || Network(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("the block of the invalid address is valid")
	}
}

// Attempts without an account do not share one: they do not exhaust its bucket for each other, and none becomes known.
func TestAttemptsWithoutAccount(t *testing.T) {
	l, err := New(defaultPolicy(), Key{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range 50 {
		k := l.Ask(now, Attempt{Addr: netip.MustParseAddr(fmt.Sprintf("198.51.%d.1", i))})
		if v := k.Verdict(); v != pass {
			t.Fatalf("attempt %d: %+v", i, v)
		}
		k.Settle(now, Denied)
	}
	addr := netip.MustParseAddr("192.0.2.1")
	k := l.Ask(now, Attempt{Addr: addr, Credential: l.Credential("", []byte("x"))})
	k.Settle(now, Accepted)
	k = l.Ask(now, Attempt{Addr: addr, Credential: l.Credential("", []byte("x"))})
	if v := k.Verdict(); v != pass || l.Stats(now).Known != 0 || l.Stats(now).Accounts != 0 {
		t.Errorf("%+v, %+v", v, l.Stats(now))
	}
	k.Settle(now, Denied)
	k = l.Ask(now, Attempt{Addr: addr})
	if v := k.Verdict(); v.Rule != RuleSource {
		t.Errorf("a second attempt from there: %+v", v)
	}
	k.Settle(now, Void)
	if v := l.Peek(now, Attempt{Addr: addr}); v != pass {
		t.Errorf("Peek: got %+v, want pass", v)
	}
}

func TestCredential(t *testing.T) {
	l := newLimiter(t, policy())
	of := func(account, secret string) Credential { return l.Credential(account, []byte(secret)) }
	if c := of("alice", "secret"); c != of("ALICE", "secret") || !c.shown() {
		t.Errorf("%x and %x: case of the account must not matter", c, of("ALICE", "secret"))
	}
	for _, other := range []Credential{of("alice", "Secret"), of("alices", "ecret"), of("bob", "secret"), of("alice", ""), {}} {
		if other == of("alice", "secret") {
			t.Errorf("two credentials are both %x", other)
		}
	}
	another, err := New(policy(), Key{1})
	if err != nil {
		t.Fatal(err)
	}
	if another.Credential("alice", []byte("secret")) == of("alice", "secret") {
		t.Error("a credential must differ under another key")
	}
}

// Fingerprints of credentials are kept in snapshots across versions, so credentials must never change.
func TestCredentialIsStable(t *testing.T) {
	l, err := New(policy(), Key{1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, tt := range []struct{ account, secret, want string }{
			{"Alice@example.org", "correct horse", "c9ca010db2900d59288593523580f32d"},
			{"bob", "", "f68a3fd3828b9272ffd513e81c367612"},
		} {
			if c := l.Credential(tt.account, []byte(tt.secret)); hex.EncodeToString(c[:16]) != tt.want {
				t.Errorf("%s: got %x, want %s", tt.account, c, tt.want)
			}
		}
	}
}
