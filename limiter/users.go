package limiter

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Users returns about how many accounts had a login accepted from block within that time before t. ok is false if block is
// invalid, or wider than /8 of IPv4 or /32 of IPv6.
//
// The known table does not have addresses. Users counts the accounts that have a fingerprint of one of the sources in
// block, or of one of its networks if block is wider than a network. So a block within a source counts as the source; an
// account counts only at the sources and networks where it was accepted last; and by chance, about one account in 10,000
// is counted for a block with as many networks as a /8 of IPv4 has, fewer for smaller ones. Logins from exempt addresses
// are not in the table.
func (l *Limiter) Users(t time.Time, block netip.Prefix, within time.Duration) (n int, ok bool) {
	c, ok := l.candidates(unmapped(block))
	if !ok {
		return 0, false
	}
	v := validityAt(t, within)
	for i := range l.known.shards {
		n += l.known.shards[i].countAccepted(&c, v)
	}
	return n, true
}

// countAccepted returns how many accounts of s were accepted from one of the sources or networks of c.
func (s *knownShard) countAccepted(c *candidates, v validity) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, block := range s.blocks {
		for i := range block {
			a := &block[i]
			if c.networks && c.contains(a.networks[:], a.networkAt[:], v) || !c.networks && c.contains(a.sources[:], a.sourceAt[:], v) {
				n++
			}
		}
	}
	return n
}

// candidates are the fingerprints of all sources or networks in a block.
type candidates struct {
	networks bool // of networks, else of sources
	all      map[uint32]struct{}
	filter   []uint64 // a bit for each value of the first filterBits of a fingerprint: most are in no candidate
}

const (
	filterBits    = 20
	maxCandidates = 1 << 16
)

// candidates returns the candidates of block, which is not mapped. ok is false if there are too many.
func (l *Limiter) candidates(block netip.Prefix) (c candidates, ok bool) {
	if !block.IsValid() {
		return c, false
	}
	source, network := Source(block.Addr()).Bits(), Network(block.Addr()).Bits()
	unit, k := source, kindSource
	if c.networks = block.Bits() < network; c.networks {
		unit, k = network, kindNetwork
	}
	count := 1 << max(unit-block.Bits(), 0)
	if count > maxCandidates {
		return c, false
	}
	c.all, c.filter = make(map[uint32]struct{}, count), make([]uint64, 1<<filterBits/64)
	for i := range count {
		p, _ := nthAddr(block.Addr(), uint64(i), unit).Prefix(unit)
		f := blockFingerprint(l.hasher.block(k, p))
		c.all[f] = struct{}{}
		first := f >> (32 - filterBits)
		c.filter[first/64] |= 1 << (first % 64)
	}
	return c, true
}

// nthAddr returns an address in the block number n of so many bits, counted from the one that addr is in.
func nthAddr(addr netip.Addr, n uint64, bits int) netip.Addr {
	if addr.Is4() {
		a := addr.As4()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(n<<(32-bits)))
		return netip.AddrFrom4(a)
	}
	a := addr.As16()
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])+n<<(64-bits))
	return netip.AddrFrom16(a)
}

// contains reports whether any fingerprint of list that still counts is a candidate.
func (c *candidates) contains(list []uint32, at []hour, v validity) bool {
	for i, f := range list {
		first := f >> (32 - filterBits)
		if c.filter[first/64]&(1<<(first%64)) == 0 || f == 0 || !v.covers(at[i]) {
			continue
		}
		if _, ok := c.all[f]; ok {
			return true
		}
	}
	return false
}
