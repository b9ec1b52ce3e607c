package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

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
	if v := l.Peek(now, addr, ""); v != pass {
		t.Errorf("Peek: got %+v, want pass", v)
	}
}
