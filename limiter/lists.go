package limiter

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Lists are the networks that operators have blocked or allowed. An address in a network of both lists is allowed,
// whatever the sizes of the networks.
//
// A blocked client is refused by rule blocked, also if it is known or its address is exempt. Nothing else is asked about
// it, so it learns nothing about a password or an account.
//
// An attempt from an allowed network that is not known meets only the rules pair, repeat and spray: many new users may
// come from there at once. All sources of the network share one pair on each account. In the queue it has the priority of
// the known, as long as its network has not used its share of the reserved lane. Its logins are counted and learned as
// usual. The limits on connections, and on waiting attempts, are those of an address that very many people share. For an
// exempt address, an allow only lifts a block.
type Lists struct {
	Blocked, Allowed []netip.Prefix // some 10,000 each at most; networks that are invalid are ignored
}

// SetLists replaces both lists at once. It affects connections and attempts that begin later; those under way are closed
// by the proxy.
func (l *Limiter) SetLists(of Lists) {
	l.lists.Store(&lists{newNetworkSet(of.Blocked), newNetworkSet(of.Allowed)})
}

// Blocked reports whether addr is in a blocked network and in no allowed one. An IPv4 address mapped into IPv6 counts as
// IPv4, and zones are dropped. An invalid address is in no network.
func (l *Limiter) Blocked(addr netip.Addr) bool {
	blocked, _ := l.lists.Load().lookup(addr)
	return blocked
}

// lists are Lists prepared for lookups. They never change; SetLists makes new ones.
type lists struct {
	blocked, allowed networkSet
}

// lookup reports whether addr is blocked, and returns the widest allowed network that has it, the zero Prefix if none
// has.
func (x *lists) lookup(addr netip.Addr) (blocked bool, allowed netip.Prefix) {
	if x.blocked.isEmpty() && x.allowed.isEmpty() {
		return false, netip.Prefix{}
	}
	addr = addr.Unmap()
	allowed = x.allowed.widest(addr)
	return !allowed.IsValid() && x.blocked.widest(addr).IsValid(), allowed
}

// A networkSet is a set of networks, by the lengths of their prefixes, the shortest first. A lookup costs one access to a
// map for each length in use, unless the filter says for IPv4 that no network has any address of the same /16.
type networkSet struct {
	four, six []networksOfLength
	filter    [1 << 16 / 64]uint64 // a bit for each /16 that a network of four is in or includes
}

type networksOfLength struct {
	bits     int
	mask     address
	networks map[address]struct{}
}

// An address is an IP address as two numbers: that of IPv4 is mapped into IPv6.
type address struct{ hi, lo uint64 }

func addressOf(addr netip.Addr) address {
	a := addr.As16()
	return address{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

// and returns the bits that a and mask have in common.
func (a address) and(mask address) address {
	return address{a.hi & mask.hi, a.lo & mask.lo}
}

// maskOf returns the mask of a prefix of so many bits, of 128.
func maskOf(bits int) address {
	return address{^(^uint64(0) >> min(bits, 64)), ^(^uint64(0) >> max(bits-64, 0))}
}

func newNetworkSet(all []netip.Prefix) (s networkSet) {
	for _, p := range all {
		switch p = unmapped(p); {
		case !p.IsValid():
		case p.Addr().Is4():
			s.four = addNetwork(s.four, p, 96)
			first := firstOctets(p.Addr())
			for i := range 1 << max(16-p.Bits(), 0) {
				s.filter[(first+i)/64] |= 1 << ((first + i) % 64)
			}
		default:
			s.six = addNetwork(s.six, p, 0)
		}
	}
	return s
}

// addNetwork adds p to sets, which are sorted. The addresses of its family begin after so many bits.
func addNetwork(sets []networksOfLength, p netip.Prefix, begin int) []networksOfLength {
	i, ok := slices.BinarySearchFunc(sets, p.Bits(), func(n networksOfLength, bits int) int { return cmp.Compare(n.bits, bits) })
	if !ok {
		sets = slices.Insert(sets, i, networksOfLength{p.Bits(), maskOf(begin + p.Bits()), map[address]struct{}{}})
	}
	sets[i].networks[addressOf(p.Addr())] = struct{}{}
	return sets
}

// firstOctets returns the first two octets of an address of IPv4 as one number.
func firstOctets(addr netip.Addr) int {
	a := addr.As4()
	return int(a[0])<<8 | int(a[1])
}

func (s *networkSet) isEmpty() bool {
	return len(s.four) == 0 && len(s.six) == 0
}

// widest returns the widest network of s that has addr, which is not mapped, or the zero Prefix.
func (s *networkSet) widest(addr netip.Addr) netip.Prefix {
	sets := s.six
	switch {
	case !addr.IsValid():
		return netip.Prefix{}
	case addr.Is4():
		sets = s.four
		if first := firstOctets(addr); s.filter[first/64]&(1<<(first%64)) == 0 {
			return netip.Prefix{}
		}
	}
	if len(sets) == 0 {
		return netip.Prefix{}
	}
	a := addressOf(addr)
	for i := range sets {
		if _, ok := sets[i].networks[a.and(sets[i].mask)]; ok {
			p, _ := addr.Prefix(sets[i].bits) // of a length that addr has
			return p
		}
	}
	return netip.Prefix{}
}
