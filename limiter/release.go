package limiter

import (
	"net/netip"
	"time"
)

// Release forgets, at time t, the denials, looks, penalties and new connections that are spent in the buckets of a: with
// an address alone those of its source, network and wide prefixes, with an account alone that of the account, with both
// those of the pair: of the source, the network, its allowed network, and the device if a has one, each on the account. It
// returns how many of the buckets were not full. What is held or open remains, and so do repeats, which end within
// RepeatTTL.
func (l *Limiter) Release(t time.Time, a Attempt) (n int) {
	now := l.epoch.ticks(t)
	l.cut.RLock()
	defer l.cut.RUnlock()
	for _, b := range l.releasable(a) {
		if e, mu := l.table.find(b.key); e != nil {
			if l.releaseEntry(now, e) {
				n++
			}
			mu.Unlock()
		}
		if l.wants(opReleased) {
			l.publish(&event{op: opReleased, kind: b.kind, key: b.key})
		}
	}
	return n
}

// releasable returns the entries that Release changes, as far as they exist.
func (l *Limiter) releasable(a Attempt) (all []hold) {
	add := func(kd kind, key func(kind) key) {
		all = append(all, hold{key: key(kd), kind: kd})
		if kd == kindSource || kd == kindNetwork || kd == kindPair {
			all = append(all, hold{key: key(kd | tokens), kind: kd})
		}
	}
	ofBlock := func(p netip.Prefix) func(kind) key {
		return func(k kind) key { return l.hasher.block(k, p) }
	}
	source, network := Source(a.Addr), Network(a.Addr)
	switch {
	case a.Account == "" && a.Addr.IsValid():
		var s subject
		s.setPrefixKeys(l, a.Addr)
		add(kindSource, ofBlock(source))
		add(kindNetwork, ofBlock(network))
		for _, kd := range [...]kind{kindPrefix, kindWidePrefix} {
			if s.keys[kd] != (key{}) {
				add(kd, func(kind) key { return s.keys[kd] })
			}
		}
	case a.Account != "" && !a.Addr.IsValid():
		add(kindAccount, func(kind) key { return l.hasher.account(a.Account) })
	case a.Account != "":
		account := l.hasher.account(a.Account)
		blocks := []netip.Prefix{source, network}
		if _, allowed := l.lists.Load().lookup(a.Addr); allowed.IsValid() && allowed != source && allowed != network {
			blocks = append(blocks, allowed)
		}
		if a.Device != 0 {
			blocks = append(blocks, deviceBlock(a.Device))
		}
		for _, p := range blocks {
			add(kindPair, func(k kind) key { return l.hasher.pair(k, account, p, Credential{}) })
		}
	}
	return all
}

// releaseEntry is release for e, and for what this gateway counts beside it.
func (l *Limiter) releaseEntry(now ticks, e *entry) bool {
	l.table.forgetAlone(e)
	return e.release(now)
}

// release forgets what is spent in e, and its penalty, and reports whether there was anything.
func (e *entry) release(now ticks) bool {
	spent := e.penaltyUntil > now || max(e.denials, e.looks, e.connects) > bucket(now)
	e.clear()
	e.penaltyUntil, e.starved = 0, 0
	return spent
}

// ForgetAccount removes account from the known table: from then on nobody is known there, and it does not count for the
// growth of its sources. It reports whether the account was known. A login that is accepted later makes it known again.
func (l *Limiter) ForgetAccount(t time.Time, account string) bool {
	k := l.hasher.account(account)
	l.cut.RLock()
	defer l.cut.RUnlock()
	if l.wants(opForgotten) {
		l.publish(&event{op: opForgotten, account: k})
	}
	if l.rules.Load().gateways > 1 {
		l.known.noteDenied(l.epoch.ticks(t), k, 0)
	}
	return l.known.forget(k)
}

// forget removes account, and reports whether it was in n.
func (n *knownTable) forget(account key) bool {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[account]
	if ok {
		n.drop(s, account, i)
	}
	return ok
}
