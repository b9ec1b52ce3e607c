package traffic

import "net/netip"

// Where everybody comes from. No two kinds of visitor share an address, and attackers share no network with people. The
// lower three octets of an IPv4 address are enough to tell all of them apart, see [Loopback].
//
//	64.0-31.x.x            homes, four in a /24
//	64.32-63.x.x           newcomers
//	64.64.0.1              the office
//	64.96-127.x.x          travellers
//	128-191.128-255.x.x    attackers, each in a /24 of its own
//	2001:db8:0-7fff::      homes, a few in a /48
//	2001:db8:8000-8031::   attackers who hop

var officeAddr = netip.AddrFrom4([4]byte{64, 64, 0, 1})

// The second octets at which the addresses of those begin who never come from the same one twice.
const (
	newcomersFrom  = 32
	travellersFrom = 96
)

// scatter returns i mixed within the lower bits, so that neighbours come far apart. No two i below 1<<bits give the same.
func scatter(i int, bits uint) uint32 {
	return uint32(i) * 0x9E3779B1 & (1<<bits - 1)
}

// home returns where the i-th person lives.
func home(i int) netip.Addr {
	if i%3 == 2 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 12), byte(i >> 4), byte(i % 16), 0, 15: 1})
	}
	return netip.AddrFrom4([4]byte{64, byte(i >> 10 & 31), byte(i >> 2), byte(i%4*60 + 1)})
}

// abroad returns the i-th of the two million addresses whose second octet is one of the 32 that begin with from.
func abroad(i int, from byte) netip.Addr {
	n := scatter(i, 21)
	return netip.AddrFrom4([4]byte{64, from + byte(n>>16), byte(n >> 8), byte(n)})
}

// botnet returns the address of the i-th of two million attackers.
func botnet(i int) netip.Addr {
	n := scatter(i, 21)
	high := byte(n >> 15)
	return netip.AddrFrom4([4]byte{128 + high, 128 + byte(n>>8&127), byte(n), 1 + high})
}

// hop returns the i-th address inside the given number of /48s: each time another /64, until all 65,536 have been used.
func hop(i, networks int) netip.Addr {
	n, subnet := i%networks, scatter(i/networks, 16)
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0x80, byte(n), byte(subnet >> 8), byte(subnet), 15: 1})
}

// Loopback returns an address of 127.0.0.0/8 that stands for addr, the address of somebody in a crowd; each has one of its
// own. Attackers who hop have none, for there is nothing like a /64.
func Loopback(addr netip.Addr) (netip.Addr, bool) {
	a := addr.As16()
	switch {
	case addr.Is4():
		return netip.AddrFrom4([4]byte{127, a[13], a[14], a[15]}), true
	case a[4] < 16: // the first 65,536 homes
		return netip.AddrFrom4([4]byte{127, 72 + a[4], a[5], 1 + a[6]}), true
	}
	return netip.Addr{}, false
}
