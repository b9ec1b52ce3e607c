package admin

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// tryFor counts the logins that addr may try in 100 s, at ten a second.
func tryFor(l *tries, addr string) (n int) {
	now := time.Unix(1_000_000, 0)
	for range 1000 {
		now = now.Add(100 * time.Millisecond)
		if l.allow(now, netip.MustParseAddr(addr)) {
			n++
		}
	}
	return n
}

// TestLoginRate is one try a second of a source in the long run.
func TestLoginRate(t *testing.T) {
	if n := tryFor(newTries(rate.Every(loginEvery)), "192.0.2.1"); n < 100 || n > 100+loginBurst {
		t.Errorf("got %d in 100 s", n)
	}
}

// TestLoginFloodElsewhere does not lock out other sources, but the addresses of a source count together.
func TestLoginFloodElsewhere(t *testing.T) {
	l := newTries(rate.Every(time.Hour))
	now := time.Unix(1_000_000, 0)
	for range 100 {
		l.allow(now, netip.MustParseAddr("2001:db8:0:1::1"))
		l.allow(now, netip.MustParseAddr("192.0.2.1"))
	}
	for addr, want := range map[string]bool{
		"192.0.2.1": false, "::ffff:192.0.2.1": false, "2001:db8:0:1::2": false, "192.0.2.2": true, "2001:db8:0:2::1": true,
	} {
		if l.allow(now, netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: got %v, want %v", addr, !want, want)
		}
	}
}

// TestLoginFloodOfSources: many sources share one limit once the table is full, and have
// their own again once others have not tried for a while.
func TestLoginFloodOfSources(t *testing.T) {
	l := newTries(rate.Every(loginEvery))
	now, allowed := time.Unix(1_000_000, 0), 0
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 10 * triesMax {
		if l.allow(now, addr(i)) {
			allowed++
		}
	}
	if want := triesMax + loginBurst; allowed != want || len(l.sources) != triesMax {
		t.Errorf("got %d tries and %d sources, want %d and %d", allowed, len(l.sources), want, triesMax)
	}
	if later := now.Add(time.Minute); !l.allow(later, addr(1<<20)) || len(l.sources) != 1 {
		t.Errorf("got %d sources later, want the new one", len(l.sources))
	}
}
