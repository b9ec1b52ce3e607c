package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestUsers(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	logins := 0
	login := func(ago time.Duration, account, addr string) {
		a := Attempt{Addr: netip.MustParseAddr(addr), Account: account}
		logins++
		logIn(l, start.Add(-ago), a, Accepted)
	}
	login(20*time.Hour, "a", "192.0.2.1")
	login(10*time.Hour, "a", "192.0.2.1")
	login(10*time.Hour, "a", "192.0.3.1")
	login(10*time.Hour, "b", "192.0.2.1")
	login(72*time.Hour, "c", "192.0.2.2")
	login(10*time.Hour, "d", "192.1.255.255")
	login(10*time.Hour, "e", "2001:db8:0:1::1")
	login(10*time.Hour, "f", "2001:db8:0:ffff::1")
	login(10*time.Hour, "g", "2001:db8:ffff::1")
	day := 24 * time.Hour
	for _, tt := range []struct {
		block  string
		within time.Duration
		want   int
	}{
		{"192.0.2.1/32", day, 2},
		{"192.0.2.2/32", day, 0},
		{"192.0.2.2/32", 4 * day, 1},
		{"192.0.2.0/31", day, 2},
		{"192.0.2.0/24", day, 2},
		{"192.0.2.0/24", 4 * day, 3},
		{"192.0.2.0/24", time.Hour, 0},
		{"192.0.2.0/23", day, 2},
		{"192.0.0.0/16", day, 2},
		{"192.0.0.0/15", day, 3},
		{"192.0.0.0/8", day, 3},
		{"::ffff:192.0.2.0/120", day, 2},
		{"10.0.0.0/8", day, 0},
		{"2001:db8:0:1::/64", day, 1},
		{"2001:db8:0:1::7/128", day, 1},
		{"2001:db8::/48", day, 2},
		{"2001:db8::/47", day, 2},
		{"2001:db8::/32", day, 3},
		{"2001:db9::/32", day, 0},
	} {
		if n, ok := l.Users(start, netip.MustParsePrefix(tt.block), tt.within); n != tt.want || !ok {
			t.Errorf("Users(%s, %v) = %d, %v; want %d, true", tt.block, tt.within, n, ok, tt.want)
		}
	}
	for _, block := range []netip.Prefix{{}, netip.MustParsePrefix("192.0.0.0/7"), netip.MustParsePrefix("2001:db8::/31"), netip.MustParsePrefix("::/0")} {
		if n, ok := l.Users(start, block, day); n != 0 || ok {
			t.Errorf("Users(%v) = %d, %v; want false: it is too wide", block, n, ok)
		}
	}
	l.ForgetAccount(start, "a")
	if n, _ := l.Users(start, netip.MustParsePrefix("192.0.2.0/24"), day); n != 1 {
		t.Errorf("%d users once one is forgotten, want 1", n)
	}
}

// BenchmarkUsers counts those of a block among 500,000 accounts.
func BenchmarkUsers(b *testing.B) {
	l := newLimiter(b, defaultPolicy())
	for i := range 500_000 {
		k, f := l.hasher.account(fmt.Sprint(i)), fingerprints{credential: 7}
		f.source = blockFingerprint(l.hasher.block(kindSource, Source(host(i))))
		f.network = blockFingerprint(l.hasher.block(kindNetwork, Network(host(i))))
		l.known.learn(start, k, f, validityAt(start, 720*time.Hour), 0, 500_000)
	}
	for _, block := range []string{"10.0.1.1/32", "10.0.1.0/24", "10.1.0.0/16", "10.0.0.0/8", "2001:db8::/32"} {
		b.Run(block, func(b *testing.B) {
			for b.Loop() {
				l.Users(start, netip.MustParsePrefix(block), 24*time.Hour)
			}
		})
	}
}
