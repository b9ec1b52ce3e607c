package watch

import (
	"cmp"
	"net/netip"
	"slices"
)

// A sample keeps a few of the distinct networks it was shown: those with the smallest hashes (bottom-k sampling). Each
// network is as likely to be in it as any other, however often it came.
type sample struct {
	room int
	kept []sampledNetwork // smallest hash first
}

// A sampledNetwork is one of them.
type sampledNetwork struct {
	hash    uint64
	network netip.Prefix
}

// see shows s a network that has this hash.
func (s *sample) see(network netip.Prefix, hash uint64) {
	at, there := slices.BinarySearchFunc(s.kept, hash, func(in sampledNetwork, h uint64) int { return cmp.Compare(in.hash, h) })
	if there || at >= s.room {
		return
	}
	if len(s.kept) == s.room {
		s.kept = s.kept[:s.room-1]
	}
	s.kept = slices.Insert(s.kept, at, sampledNetwork{hash, network})
}

// networks returns the networks in s.
func (s *sample) networks() (networks []netip.Prefix) {
	for _, in := range s.kept {
		networks = append(networks, in.network)
	}
	return networks
}
