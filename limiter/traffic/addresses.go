package traffic

import "net/netip"

// The addresses of each class. No two classes share an address, except those behind the shared address, and other
// attackers share no network with users. The lower three octets of an IPv4 address identify it, see [Loopback].
//
//	64.0-31.x.x            homes, four in a /24
//	64.32-63.x.x           newcomers
//	64.64.0.1              the office
//	64.64.1.1              the shared address
//	64.96-127.x.x          travellers and other users at new addresses
//	128-191.128-255.x.x    attackers, each in its own /24
//	2001:db8:0-7fff::      homes, a few in a /48
//	2001:db8:8000-8031::   attackers of kind hop
//	3fff:0:0-1f3::         attackers of kinds spray48 and fresh48
//	3fff:0:1f4-1ff::       nearby newcomers, and 3fff:0:8000-800b::

var (
	officeAddr = netip.AddrFrom4([4]byte{64, 64, 0, 1})
	sharedAddr = netip.AddrFrom4([4]byte{64, 64, 1, 1})
)

// The first of the 32 second octets of the classes that use each address once.
const (
	newcomerOctet  = 32
	travellerOctet = 96
)

// scramble returns a permutation of the numbers below 1<<bits in which neighbours are far apart.
func scramble(i int, bits uint) uint32 {
	return uint32(i) * 0x9E3779B1 & (1<<bits - 1)
}

// homeAddr returns the home address of the i-th user.
func homeAddr(i int) netip.Addr {
	if i%3 == 2 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 12), byte(i >> 4), byte(i % 16), 0, 15: 1})
	}
	return netip.AddrFrom4([4]byte{64, byte(i >> 10 & 31), byte(i >> 2), byte(i%4*60 + 1)})
}

// changingAddr returns the i-th of the two million addresses whose second octet is one of the 32 from the given one.
func changingAddr(i int, octet byte) netip.Addr {
	n := scramble(i, 21)
	return netip.AddrFrom4([4]byte{64, octet + byte(n>>16), byte(n >> 8), byte(n)})
}

// The travellers have the first half of their two million addresses. Each other class that uses new addresses has an
// eighth.
const (
	roamingFrom = 1<<20 + iota<<18
	deviceFrom
	ownerFrom
	ownerDeviceFrom
)

// attackerAddr returns the address of the i-th of two million attackers.
func attackerAddr(i int) netip.Addr {
	n := scramble(i, 21)
	high := byte(n >> 15)
	return netip.AddrFrom4([4]byte{128 + high, 128 + byte(n>>8&127), byte(n), 1 + high})
}

// hopAddr returns the i-th address inside the given number of /48s, each in another /64 until all 65,536 of each /48
// are used.
func hopAddr(i, networks int) netip.Addr {
	n, subnet := i%networks, scramble(i/networks, 16)
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0x80, byte(n), byte(subnet >> 8), byte(subnet), 15: 1})
}

// manyNetworksAddr returns the i-th of 50,000 addresses, each in another /64, in 500 /48s.
func manyNetworksAddr(i int) netip.Addr {
	n, subnet := i%spray48Networks, scramble(i/spray48Networks, 16)
	return netip.AddrFrom16([16]byte{0x3f, 0xff, 0, 0, byte(n >> 8), byte(n), byte(subnet >> 8), byte(subnet), 15: 1})
}

// nearbyNetworks is how many /48s of nearby newcomers each of two /40s has.
const nearbyNetworks = 12

// nearbyAddr returns the address of the i-th nearby newcomer.
func nearbyAddr(i int) netip.Addr {
	n, subnet := spray48Networks+i/2%nearbyNetworks, scramble(i/2/nearbyNetworks, 16)
	if i%2 == 1 {
		n = 0x8000 + i/2%nearbyNetworks
	}
	return netip.AddrFrom16([16]byte{0x3f, 0xff, 0, 0, byte(n >> 8), byte(n), byte(subnet >> 8), byte(subnet), 15: 1})
}

// Loopback returns the address of 127.0.0.0/8 that stands for addr, an address of a [Login]; no two have the same. ok
// is false for attackers of kinds hop, spray48 and fresh48, and nearby newcomers, because IPv4 has nothing like a /64.
func Loopback(addr netip.Addr) (loopback netip.Addr, ok bool) {
	a := addr.As16()
	switch {
	case addr.Is4():
		return netip.AddrFrom4([4]byte{127, a[13], a[14], a[15]}), true
	case a[0] == 0x20 && a[4] < 16: // the first 65,536 homes
		return netip.AddrFrom4([4]byte{127, 72 + a[4], a[5], 1 + a[6]}), true
	}
	return netip.Addr{}, false
}
