package watch

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dchest/siphash"
)

// topCapacity is how many sources, networks and accounts are counted at once to find the most frequent.
const topCapacity = 4096

// accountMost is how many octets of an account name are kept.
const accountMost = 64

// A collector collects an [Hour].
type collector struct {
	key       [2]uint64
	hour      Hour
	sources   *top[netip.Prefix]
	networks  *top[netip.Prefix]
	distinct  networkSketch
	accounts  *top[string]
	attackers attackers
}

func newCollector(key [16]byte) *collector {
	c := &collector{attackers: newAttackers()}
	c.key[0], c.key[1] = binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
	c.begin(time.Time{})
	return c
}

// begin begins an hour.
func (c *collector) begin(start time.Time) {
	c.hour, c.distinct = Hour{Start: start}, networkSketch{}
	c.sources, c.networks, c.accounts = newTop[netip.Prefix](topCapacity), newTop[netip.Prefix](topCapacity), newTop[string](topCapacity)
}

// attempt adds an attempt that was settled at t.
func (c *collector) attempt(t time.Time, a *Attempt) {
	c.rule(t, a)
	switch {
	case a.suspect():
		c.suspect(t, a)
	case a.Outcome == Accepted && !a.Usual:
		name := folded(a.Account)
		if found, attacked := c.attackers.accept(t, a, name, c.hash(name)); attacked {
			c.accepted(found)
		}
	}
}

// suspect adds a suspect.
func (c *collector) suspect(t time.Time, a *Attempt) {
	name := folded(a.Account)
	account, network, source := c.hash(name), c.hashPrefix(a.Network), c.hashPrefix(a.Source)
	c.hour.Distinct.Accounts.add(account)
	c.hour.Distinct.Sources.add(source)
	c.distinct.add(a.Network, network)
	c.sources.count(t, a.Source, account)
	c.networks.count(t, a.Network, account)
	c.accounts.count(t, name, network)
	for _, found := range c.attackers.suspect(a, account) {
		c.accepted(found)
	}
}

// accepted adds an account whose password should be reset.
func (c *collector) accepted(a Acceptance) {
	if len(c.hour.Accepted) < hourAccepted {
		c.hour.Accepted = append(c.hour.Accepted, a)
	} else {
		c.hour.Missed++
	}
}

// rule counts the attempt for the rule that refused it or made it wait.
func (c *collector) rule(t time.Time, a *Attempt) {
	refused := a.Outcome == Rejected || a.Outcome == Shed
	if a.Rule == "" || !refused && a.Waited <= 0 {
		return
	}
	r := c.countsOf(a.Rule)
	if r == nil {
		return
	}
	r.count(t, a, refused)
}

// countsOf returns the counts of a rule, or nil if there are too many rules.
func (c *collector) countsOf(rule string) *RuleCounts {
	for i := range c.hour.Rules {
		if c.hour.Rules[i].Rule == rule {
			return &c.hour.Rules[i]
		}
	}
	if len(c.hour.Rules) >= hourRules {
		return nil
	}
	c.hour.Rules = append(c.hour.Rules, RuleCounts{Rule: rule})
	return &c.hour.Rules[len(c.hour.Rules)-1]
}

// empty reports whether nothing was counted.
func (c *collector) empty() bool {
	return len(c.sources.entries)+len(c.hour.Rules)+len(c.hour.Accepted) == 0
}

// end returns the hour so far.
func (c *collector) end() Hour {
	h := c.hour
	prefix := func(p netip.Prefix) string { return p.String() }
	h.Sources = c.sources.mostFrequent(hourTop, prefix)
	h.Networks = c.networks.mostFrequent(hourTop, prefix)
	h.Accounts = c.accounts.mostFrequent(hourTop, func(name string) string { return name })
	h.Distinct.Networks, h.Sampled = c.distinct.Sketch, c.distinct.sample(hourSample)
	return h.clone()
}

// hash returns the keyed hash of an account.
func (c *collector) hash(name string) uint64 {
	return siphash.Hash(c.key[0], c.key[1], []byte(name))
}

// hashPrefix returns the keyed hash of an address block.
func (c *collector) hashPrefix(p netip.Prefix) uint64 {
	a := p.Addr().As16()
	return siphash.Hash(c.key[0], c.key[1], append(a[:], byte(p.Bits())))
}

// folded returns the name in lower case, cut to accountMost octets and made valid UTF-8.
func folded(account string) string {
	if len(account) > accountMost {
		account = account[:accountMost]
		for !utf8.ValidString(account) && len(account) > accountMost-utf8.UTFMax {
			account = account[:len(account)-1]
		}
	}
	return strings.ToLower(strings.ToValidUTF8(account, "\uFFFD"))
}
