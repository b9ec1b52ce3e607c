package watch

import (
	"net/netip"
	"time"
)

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
func (k *attackers) suspect(a *Attempt, account uint64) (found []Acceptance) {
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
func (k *attackers) accept(t time.Time, a *Attempt, name string, account uint64) (Acceptance, bool) {
	found := Acceptance{Time: t, Account: name, Source: a.Source, Network: a.Network}
	network, _ := k.denied.get(a.Network)
	attacked := network.against(account)
	if earlier, _ := k.accepted.get(a.Network); len(earlier) < acceptedEach {
		k.accepted.put(a.Network, append(earlier, acceptance{Acceptance: found, account: account, reported: attacked}))
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
