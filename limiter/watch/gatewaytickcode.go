package watch

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"postern/limiter/watch/internal/codec"
)

// tickVersion is the first octet of a tick. Raise it if older versions cannot read a tick any more. They can if fields are
// appended: octets after the last known field are ignored.
const tickVersion = 1

// The size of a tick.
const (
	tickSize     = 32 << 10 // octets, at most
	tickExplicit = 2000     // networks listed; of more, those with the fewest suspects are only counted
	tickText     = 128      // octets of an account or a rule
	sparseMost   = 4096     // accounts of a set that are listed; a larger set is its bits
	tickCount    = 1 << 32  // the highest count
)

// encode returns k in at most tickSize octets. It sorts what k has.
func (k *gatewayTick) encode() []byte {
	c := codec.Encoder([]byte{tickVersion}, time.UTC)
	k.code(c)
	k.encodeNetworks(c)
	return c.Data()
}

// errTick is the error of an empty tick.
var errTick = errors.New("counts of another gateway: got no octets, want some")

// decodeTick reads what encode has returned.
func decodeTick(data []byte) (*gatewayTick, error) {
	switch {
	case len(data) == 0:
		return nil, errTick
	case data[0] != tickVersion:
		return nil, fmt.Errorf("counts of another gateway: got version %d, want %d", data[0], tickVersion)
	case len(data) > tickSize:
		return nil, fmt.Errorf("counts of another gateway: got %d octets, want at most %d", len(data), tickSize)
	}
	k, c := newGatewayTick(), codec.Decoder(data[1:], time.UTC)
	k.code(c)
	k.decodeNetworks(c)
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("counts of another gateway: %w", err)
	}
	return k, nil
}

// code encodes or decodes k without its networks.
func (k *gatewayTick) code(c *codec.Codec) {
	k.counts.known.code(c)
	k.counts.stranger.code(c)
	k.counts.users.code(c)
	for _, n := range []*int{&k.counts.denied, &k.counts.waited, &k.counts.opened, &k.counts.closed, &k.suspects, &k.abused} {
		codec.Count(c, n)
		c.Check(*n <= tickCount, "count")
	}
	c.Bools(&k.abuseAlarm)
	for i := range k.proven {
		k.proven[i].code(c)
	}
	codec.Slice(c, &k.rules, hourRules, func(r *RuleCounts) { r.codeCounts(c) })
	codec.Slice(c, &k.acceptances, tickAcceptances, func(a *Acceptance) {
		codeName(c, &a.Account)
		codeBlock(c, &a.Source)
		codeBlock(c, &a.Network)
	})
	codec.Slice(c, &k.abuses, tickAbused, func(a *Abuse) {
		codeName(c, &a.Account)
		codec.Count(c, &a.Logins)
		codec.Count(c, &a.Habit)
		codec.Count(c, &a.Networks)
	})
	codec.Slice(c, &k.guesses, tickGuesses, func(g *sharedGuess) {
		codeName(c, &g.account)
		codeBlock(c, &g.source)
		codeBlock(c, &g.network)
	})
	c.Check(k.suspects >= len(k.guesses) && (k.suspects == 0 || len(k.guesses) > 0), "number of suspects")
	if k.suspects > len(k.guesses) {
		for _, s := range []*Sketch{&k.distinct.Sources, &k.distinct.Networks, &k.distinct.Accounts} {
			s.code(c)
		}
	}
}

// codeCounts encodes or decodes the counts of r.
func (r *RuleCounts) codeCounts(c *codec.Codec) {
	codec.String(c, &r.Rule, tickText)
	for _, n := range []*int{&r.KnownWaited, &r.KnownRefused, &r.AcceptedWaited, &r.StrangerWaited, &r.StrangerRefused} {
		codec.Count(c, n)
		c.Check(*n <= tickCount, "count of a rule")
	}
	codec.Count(c, &r.Longest)
}

// codeName encodes or decodes the name of an account.
func codeName(c *codec.Codec, name *string) {
	codec.String(c, name, tickText)
	c.Check(utf8.ValidString(*name), "name")
}

// blockIPv6 is added to the length of an IPv6 block, to distinguish it from one of IPv4.
const blockIPv6 = 64

// codeBlock encodes or decodes an address block: its length, and the octets that differ within this length.
func codeBlock(c *codec.Codec, p *netip.Prefix) {
	var data [16]byte
	length := uint8(0)
	if !c.Decoding() && p.IsValid() {
		copy(data[:], p.Addr().AsSlice())
		if length = uint8(p.Bits()); p.Addr().Is6() {
			length += blockIPv6
		}
	}
	lengths := []uint8{length}
	codec.Fixed(c, lengths)
	bits, v6 := int(lengths[0]), lengths[0] > 32
	if v6 {
		bits -= blockIPv6
	}
	if c.Check(bits >= 0 && bits <= 128, "length of an address block"); c.Err() != nil {
		return
	}
	codec.Fixed(c, data[:(bits+7)/8])
	if !c.Decoding() {
		return
	}
	addr := netip.AddrFrom16(data)
	if !v6 {
		addr = netip.AddrFrom4([4]byte(data[:4]))
	}
	*p = netip.PrefixFrom(addr, bits).Masked()
}

// code encodes or decodes s: a list of its bits, or all of them if that is shorter.
func (s *accountSet) code(c *codec.Codec) {
	var places []uint64
	if !c.Decoding() {
		places = s.places()
	}
	n := len(places)
	codec.Count(c, &n)
	if n > sparseMost {
		codec.Fixed(c, s[:])
		return
	}
	at := uint64(0)
	for i := range n {
		step := uint32(0)
		if !c.Decoding() {
			step = uint32(places[i] - at)
		}
		codec.Count(c, &step)
		if at += uint64(step); c.Err() != nil {
			return
		}
		if c.Check(at < uint64(64*len(s)), "place in a set"); c.Decoding() {
			s.add(at)
		}
	}
}

// places returns the numbers of the bits that are set, in their order. Each is a hash with the same place in the set.
func (s *accountSet) places() (all []uint64) {
	for hash := range uint64(64 * len(s)) {
		if s.has(hash) {
			all = append(all, hash)
		}
	}
	return all
}

// A tickNetwork is a network in the list of a tick.
type tickNetwork struct {
	network netip.Prefix
	suspects
	slow uint8
}

// networks returns the networks of k, those with the most suspects first.
func (k *gatewayTick) networks() []tickNetwork {
	all := make([]tickNetwork, 0, len(k.counts.networks)+len(k.slow))
	for network, n := range k.counts.networks {
		all = append(all, tickNetwork{network, n, k.slow[network]})
	}
	for network, n := range k.slow {
		if _, there := k.counts.networks[network]; !there {
			all = append(all, tickNetwork{network: network, slow: n})
		}
	}
	slices.SortFunc(all, func(a, b tickNetwork) int {
		return cmp.Or(cmp.Compare(b.guesses+b.unanswered, a.guesses+a.unanswered), a.network.Addr().Compare(b.network.Addr()), cmp.Compare(a.network.Bits(), b.network.Bits()))
	})
	return all
}

// tickTail is how many octets are kept free for what follows the list of networks.
const tickTail = 64

// encodeNetworks appends the networks: as many as there is room for, and the sums of the others.
func (k *gatewayTick) encodeNetworks(c *codec.Codec) {
	room, listed := tickSize-tickTail-len(c.Data()), 0
	list, beyond, more := []byte(nil), k.counts.beyond, k.counts.more
	for i, n := range k.networks() {
		if listed == i && listed < tickExplicit {
			entry := codec.Encoder(list, time.UTC)
			if n.code(entry); len(entry.Data()) <= room {
				list = entry.Data()
				listed++
				continue
			}
		}
		beyond.guesses += n.guesses
		beyond.unanswered += n.unanswered
		if n.guesses > 0 {
			more++
		}
	}
	codec.Count(c, &listed)
	codec.Fixed(c, list)
	beyond.code(c)
	codec.Count(c, &more)
}

// decodeNetworks reads what encodeNetworks has appended.
func (k *gatewayTick) decodeNetworks(c *codec.Codec) {
	listed := 0
	codec.Count(c, &listed)
	c.Check(listed <= tickExplicit, "number of networks")
	for range listed {
		var n tickNetwork
		if n.code(c); c.Err() != nil {
			return
		}
		if n.suspects != (suspects{}) {
			k.counts.suspect(n.network, n.suspects)
		}
		if n.slow > 0 {
			k.slow[n.network] = n.slow
		}
	}
	k.counts.beyond.code(c)
	codec.Count(c, &k.counts.more)
	c.Check(max(k.counts.beyond.guesses, k.counts.beyond.unanswered, k.counts.more) <= tickCount, "count of networks")
}

// code encodes or decodes n.
func (n *tickNetwork) code(c *codec.Codec) {
	codeBlock(c, &n.network)
	n.suspects.code(c)
	codec.Count(c, &n.slow)
	c.Check(n.guesses <= tickCount && n.unanswered <= tickCount && n.slow <= sprayQuiet+1, "count of a network")
}
