package watch

import (
	"net/netip"
	"time"
)

// topCapacity is how many sources, networks and accounts are counted at once to find the most frequent.
const topCapacity = 4096

// A collector collects an [Hour].
type collector struct {
	hash      hasher
	own       *gatewayTick // for the other gateways; nil if there are none
	hour      Hour         // its Abused are those of the other gateways
	sources   *top[netip.Prefix]
	networks  *top[netip.Prefix]
	distinct  networkSketch
	accounts  *top[string]
	ja4       ja4Counter
	attackers attackers
	abused    abusedList
}

func newCollector(h hasher) *collector {
	c := &collector{hash: h, attackers: newAttackers(), abused: newAbusedList()}
	c.begin(time.Time{})
	return c
}

// begin begins an hour.
func (c *collector) begin(start time.Time) {
	c.hour, c.distinct = Hour{Start: start}, networkSketch{}
	c.abused.begin()
	c.ja4 = newJA4Counter()
	c.sources, c.networks, c.accounts = newTop[netip.Prefix](topCapacity), newTop[netip.Prefix](topCapacity), newTop[string](topCapacity)
}

// attempt adds an attempt that was settled at t.
func (c *collector) attempt(t time.Time, a *hashedAttempt) {
	c.rule(t, a.Attempt)
	c.ja4.attempt(t, a)
	switch {
	case a.suspect():
		c.suspect(t, a, 1)
		if c.own != nil {
			c.own.suspect(c.hash, a)
		}
	case a.Outcome == Accepted && !a.Usual:
		if found, attacked := c.attackers.accept(t, a); attacked {
			c.accepted(found)
		}
	}
}

// suspect adds a suspect that stands for n of them.
func (c *collector) suspect(t time.Time, a *hashedAttempt, n int) {
	c.hour.Distinct.Accounts.add(a.accountHash)
	c.hour.Distinct.Sources.add(c.hash.block(a.Source))
	c.distinct.add(a.Network, a.networkHash)
	c.sources.add(t, a.Source, a.accountHash, n)
	c.networks.add(t, a.Network, a.accountHash, n)
	c.accounts.add(t, a.name, a.networkHash, n)
	for _, found := range c.attackers.suspect(a) {
		c.accepted(found)
	}
}

// accepted adds an account whose password should be reset, and which was accepted by this gateway.
func (c *collector) accepted(a Acceptance) {
	c.list(a)
	if c.own != nil {
		c.own.accepted(a)
	}
}

// list adds an account whose password should be reset.
func (c *collector) list(a Acceptance) {
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
	if r := countsOf(&c.hour.Rules, a.Rule); r != nil {
		r.count(t, a, refused)
	}
	if c.own == nil {
		return
	}
	if r := countsOf(&c.own.rules, a.Rule); r != nil {
		r.count(t, a, refused)
	}
}

// countsOf returns the counts of a rule, or nil if there are too many rules.
func countsOf(rules *[]RuleCounts, rule string) *RuleCounts {
	for i := range *rules {
		if (*rules)[i].Rule == rule {
			return &(*rules)[i]
		}
	}
	if len(*rules) >= hourRules {
		return nil
	}
	*rules = append(*rules, RuleCounts{Rule: rule})
	return &(*rules)[len(*rules)-1]
}

// empty reports whether nothing was counted.
func (c *collector) empty() bool {
	return len(c.sources.entries)+len(c.hour.Rules)+len(c.hour.Accepted)+len(c.abused.entries)+len(c.hour.Abused) == 0
}

// end returns the hour so far.
func (c *collector) end() Hour {
	h := c.hour
	prefix := func(p netip.Prefix) string { return p.String() }
	h.Sources = c.sources.mostFrequent(hourTop, prefix)
	h.Networks = c.networks.mostFrequent(hourTop, prefix)
	h.Accounts = c.accounts.mostFrequent(hourTop, func(name string) string { return name })
	more := 0
	if elsewhere := h.Abused; len(elsewhere) == 0 {
		h.Abused = c.abused.entries
	} else {
		h.Abused, more = mergeCounted(c.abused.entries, elsewhere, hourAbused, (*Abuse).count, (*Abuse).add)
	}
	h.AbusedMissed += c.abused.missed + more
	h.JA4 = h.JA4.merge(c.ja4.end())
	h.Distinct.Networks, h.Sampled = c.distinct.Sketch, c.distinct.sample(hourSample)
	return h.clone()
}

// The bounds of [attackers], in each of two generations.
const (
	attackingNetworks = 1 << 15
	acceptedNetworks  = 1 << 12
	acceptedEach      = 8 // accounts from one network
)

// attackers finds accounts that were accepted from a network which attacked other accounts, before or after that.
type attackers struct {
	denied   generations[netip.Prefix, attacker]
	accepted generations[netip.Prefix, []acceptance]
}

// An attacker is a network from which an account was denied.
type attacker struct {
	account uint64 // hash of the first account
	several bool   // there were others
	denials int
}

// An acceptance is kept because its network may attack later.
type acceptance struct {
	Acceptance
	account  uint64
	reported bool
}

// against reports whether a attacked accounts other than this one.
func (a attacker) against(account uint64) bool {
	return a.denials > 0 && (a.several || a.account != account)
}

func newAttackers() attackers {
	return attackers{
		denied:   newGenerations[netip.Prefix, attacker](attackingNetworks),
		accepted: newGenerations[netip.Prefix, []acceptance](acceptedNetworks),
	}
}

// suspect adds a suspect. It returns the earlier acceptances that are to be reported because of it.
func (k *attackers) suspect(a *hashedAttempt) (found []Acceptance) {
	account := a.accountHash
	network, _ := k.denied.get(a.Network)
	if network.denials == 0 {
		network.account = account
	}
	network.several = network.several || network.account != account
	network.denials++
	k.denied.put(a.Network, network)
	earlier, there := k.accepted.get(a.Network)
	if !there {
		return nil
	}
	for i := range earlier {
		if e := &earlier[i]; !e.reported && network.against(e.account) {
			e.reported = true
			found = append(found, e.Acceptance)
		}
	}
	return found
}

// accept adds an attempt that was accepted at t, from a network the account was never accepted from before. It reports
// whether that network attacked other accounts.
func (k *attackers) accept(t time.Time, a *hashedAttempt) (Acceptance, bool) {
	found := Acceptance{Time: t, Account: a.name, Source: a.Source, Network: a.Network}
	network, _ := k.denied.get(a.Network)
	attacked := network.against(a.accountHash)
	if earlier, _ := k.accepted.get(a.Network); len(earlier) < acceptedEach {
		k.accepted.put(a.Network, append(earlier, acceptance{Acceptance: found, account: a.accountHash, reported: attacked}))
	}
	return found, attacked
}

// generations is a bounded map of two generations. When the newer one is full, the older one is dropped.
type generations[K comparable, V any] struct {
	capacity int
	now      map[K]V
	old      map[K]V
}

func newGenerations[K comparable, V any](capacity int) generations[K, V] {
	return generations[K, V]{capacity: capacity, now: map[K]V{}}
}

// get returns the value of key.
func (g *generations[K, V]) get(key K) (V, bool) {
	if v, there := g.now[key]; there {
		return v, true
	}
	v, there := g.old[key]
	return v, there
}

// put sets the value of key.
func (g *generations[K, V]) put(key K, v V) {
	if _, there := g.now[key]; !there && len(g.now) >= g.capacity {
		g.old, g.now = g.now, make(map[K]V)
	}
	g.now[key] = v
}
