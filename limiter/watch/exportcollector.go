package watch

import (
	"net/netip"

	"postern/limiter/watch/internal/codec"
)

// code encodes or decodes k.
func (c *collector) code(x *codec.Codec) {
	c.hour.Code(x)
	c.sources.code(x, x.Prefix)
	c.networks.code(x, x.Prefix)
	c.accounts.code(x, func(name *string) { codec.String(x, name, exportName) })
	c.distinct.code(x)
	c.attackers.code(x)
	c.abused.code(x)
}

// code encodes or decodes p, and each key by the function key. The index of the entries and their places in the order
// follow from the rest.
func (p *top[K]) code(c *codec.Codec, key func(*K)) {
	codec.Slice(c, &p.entries, p.capacity, func(e *topEntry[K]) {
		key(&e.key)
		codec.Count(c, &e.n)
		codec.Count(c, &e.over)
		codec.Fixed(c, e.spread[:])
		c.Times(&e.first, &e.last)
	})
	codec.Slice(c, &p.order, p.capacity, func(i *int) { codec.Count(c, i) })
	if !c.Decoding() {
		return
	}
	clear(p.at)
	for i := range p.entries {
		p.entries[i].place = -1
		p.at[p.entries[i].key] = i
	}
	ok := len(p.order) == len(p.entries) && len(p.at) == len(p.entries)
	for place, i := range p.order {
		if ok = ok && i < len(p.entries) && p.entries[i].place < 0; ok {
			p.entries[i].place = place
		}
	}
	c.Check(ok, "order of the most frequent")
}

// code encodes or decodes s.
func (s *networkSketch) code(c *codec.Codec) {
	s.Sketch.code(c)
	for i := range s.kept {
		kept := &s.kept[i]
		if c.Prefix(&kept.network); kept.network.IsValid() {
			c.Hash(&kept.hash)
		}
	}
}

// code encodes or decodes k.
func (k *attackers) code(c *codec.Codec) {
	k.denied.code(c, func(network *netip.Prefix, a *attacker) {
		c.Prefix(network)
		c.Hash(&a.account)
		c.Bools(&a.several)
		codec.Count(c, &a.denials)
	})
	k.accepted.code(c, func(network *netip.Prefix, all *[]acceptance) {
		c.Prefix(network)
		codec.Slice(c, all, acceptedEach, func(a *acceptance) {
			a.code(c)
			c.Hash(&a.account)
			c.Bools(&a.reported)
		})
	})
}

// code encodes or decodes l.
func (l *abusedList) code(c *codec.Codec) {
	codec.Map(c, &l.at, hourAbused, func(account *uint64, i *int) {
		c.Hash(account)
		codec.Count(c, i)
	})
	codec.Slice(c, &l.entries, hourAbused, func(a *Abuse) { a.code(c) })
	codec.Slice(c, &l.networks, hourAbused, func(s *Spread) { codec.Fixed(c, s[:]) })
	codec.Slice(c, &l.again, hourAbused, func(account *uint64) { c.Hash(account) })
	codec.Count(c, &l.missed)
	l.before.code(c, func(account *uint64, _ *struct{}) { c.Hash(account) })
	ok := len(l.networks) == len(l.entries) && len(l.at) == len(l.entries)
	for _, i := range l.at {
		ok = ok && i < len(l.entries)
	}
	for _, account := range l.again {
		_, there := l.at[account]
		ok = ok && there
	}
	c.Check(ok, "list of abused accounts")
}
