package watch

import (
	"cmp"
	"net/netip"
	"slices"
)

// A draw is a few of the distinct networks it was shown, each as likely to be in it as any other, however often it came:
// those with the smallest hashes (bottom-k sampling).
type draw struct {
	room  int
	drawn []drawn // smallest hash first
}

// A drawn is one of them.
type drawn struct {
	hash    uint64
	network netip.Prefix
}

// see shows it a network with this hash.
func (d *draw) see(network netip.Prefix, hash uint64) {
	at, there := slices.BinarySearchFunc(d.drawn, hash, func(in drawn, h uint64) int { return cmp.Compare(in.hash, h) })
	if there || at >= d.room {
		return
	}
	if len(d.drawn) == d.room {
		d.drawn = d.drawn[:d.room-1]
	}
	d.drawn = slices.Insert(d.drawn, at, drawn{hash, network})
}

// networks returns what was drawn.
func (d *draw) networks() (networks []netip.Prefix) {
	for _, in := range d.drawn {
		networks = append(networks, in.network)
	}
	return networks
}
