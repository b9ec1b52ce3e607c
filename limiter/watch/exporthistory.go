package watch

import (
	"net/netip"

	"postern/limiter/watch/internal/codec"
)

// The bounds of texts in an export.
const (
	exportName = 256 // of an account, a network or a rule
	exportKind = 32  // of a class
)

// Code encodes or decodes m.
func (m *Minute) Code(c *codec.Codec) {
	c.Times(&m.Start)
	codec.String(c, &m.Class, exportKind)
	m.Known.code(c)
	m.Stranger.code(c)
	m.Users.code(c)
	codec.Count(c, &m.Networks)
	codec.Count(c, &m.Opened)
	codec.Count(c, &m.Closed)
	m.Expected.code(c)
}

// code encodes or decodes o.
func (c *Outcomes) code(x *codec.Codec) {
	for _, n := range []*int{&c.Gone, &c.Accepted, &c.Denied, &c.Repeat, &c.Rejected, &c.Shed, &c.Fault} {
		codec.Count(x, n)
	}
}

// code encodes or decodes u.
func (u *Users) code(c *codec.Codec) {
	for _, n := range []*int{&u.Good, &u.Slow, &u.Limited, &u.Fault, &u.Denied} {
		codec.Count(c, n)
	}
	for i := range u.Greeted {
		codec.Count(c, &u.Greeted[i])
	}
}

// code encodes or decodes s.
func (s *Signals) code(c *codec.Codec) { c.Floats(&s.Logins, &s.Suspects, &s.Networks) }

// Code encodes or decodes h.
func (h *Hour) Code(c *codec.Codec) {
	c.Times(&h.Start)
	for _, targets := range []*[]Target{&h.Sources, &h.Networks, &h.Accounts} {
		codec.Slice(c, targets, hourTop, func(t *Target) { t.code(c) })
	}
	codec.Slice(c, &h.Sampled, hourSample, func(p *netip.Prefix) { c.Prefix(p) })
	for _, s := range []*Sketch{&h.Distinct.Sources, &h.Distinct.Networks, &h.Distinct.Accounts} {
		s.code(c)
	}
	codec.Slice(c, &h.Accepted, hourAccepted, func(a *Acceptance) { a.code(c) })
	codec.Count(c, &h.Missed)
	codec.Slice(c, &h.Rules, hourRules, func(r *RuleCounts) { r.code(c) })
	codec.Slice(c, &h.Abused, hourAbused, func(a *Abuse) { a.code(c) })
	codec.Count(c, &h.AbusedMissed)
}

// code encodes or decodes t.
func (t *Target) code(c *codec.Codec) {
	codec.String(c, &t.Name, exportName)
	codec.Count(c, &t.Denials)
	codec.Count(c, &t.Over)
	codec.Fixed(c, t.Spread[:])
	c.Times(&t.First, &t.Last)
}

// code encodes or decodes a.
func (a *Acceptance) code(c *codec.Codec) {
	c.Times(&a.Time)
	codec.String(c, &a.Account, exportName)
	c.Prefix(&a.Source)
	c.Prefix(&a.Network)
}

// code encodes or decodes r.
func (r *RuleCounts) code(c *codec.Codec) {
	codec.String(c, &r.Rule, exportName)
	for _, n := range []*int{&r.KnownWaited, &r.KnownRefused, &r.AcceptedWaited, &r.StrangerWaited, &r.StrangerRefused} {
		codec.Count(c, n)
	}
	codec.Int(c, &r.Longest)
	c.Times(&r.First, &r.Last)
}

// code encodes or decodes a.
func (a *Abuse) code(c *codec.Codec) {
	c.Times(&a.Time)
	codec.String(c, &a.Account, exportName)
	codec.Count(c, &a.Logins)
	codec.Count(c, &a.Habit)
	codec.Count(c, &a.Networks)
}

// code encodes or decodes s.
func (s *Sketch) code(c *codec.Codec) {
	filled := s.ranks != nil
	if c.Bools(&filled); !filled {
		s.ranks = nil
		return
	}
	if c.Decoding() {
		s.ranks = new([1 << sketchBits]uint8)
	}
	codec.Fixed(c, s.ranks[:])
	for _, rank := range s.ranks {
		c.Check(rank <= 64-sketchBits+1, "rank of a sketch")
	}
}
