package limiter

import "net/netip"

// Source returns the block that attempts from addr are charged to: the address itself for IPv4; its /64 for IPv6,
// because one customer usually has a whole /64. An IPv4 address mapped into IPv6 counts as IPv4, and zones are dropped.
// All invalid addresses share one source, the zero Prefix.
func Source(addr netip.Addr) netip.Prefix {
	return block(addr, 32, 64)
}

// Network returns the wider block around addr: /24 for IPv4, /48 for IPv6. It treats mapped and invalid addresses as
// [Source] does.
func Network(addr netip.Addr) netip.Prefix {
	return block(addr, 24, 48)
}

func block(addr netip.Addr, bits4, bits6 int) netip.Prefix {
	addr = addr.Unmap()
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	p, _ := addr.Prefix(bits) // fails only for invalid addresses, with the zero Prefix
	return p
}

// unmapped returns p masked, as IPv4 if it is mapped into IPv6, and the zero Prefix if p is invalid or only part of it
// is mapped.
func unmapped(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p.Masked()
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
}
