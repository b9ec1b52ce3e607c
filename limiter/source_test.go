package limiter

import (
	"net/netip"
	"testing"
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
