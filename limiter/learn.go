package limiter

import (
	"net/netip"
	"sync"
	"time"
)

// Learn records that a login to account from addr was accepted at the time at, as a log of the past says. It returns what
// [Limiter.Near] does before that. Logins need not be learned in the order of their times.
//
// It does what [Ticket.Settle] does for an accepted attempt without credential and device, and nothing about buckets. The
// restrictions are the same: nothing is learned from an exempt address or beyond TableMax, or while KnownTTL is zero.
// The reserve is enforced once the logins that were learned span a day.
func (l *Limiter) Learn(at time.Time, addr netip.Addr, account string) (source, network bool) {
	r := l.rules.Load()
	key, f, v, ok := l.learnable(at, addr, account, r)
	if !ok {
		return false, false
	}
	l.cut.RLock()
	defer l.cut.RUnlock()
	t, _ := l.known.lookup(key, f, v)
	l.known.learnPast(key, f, v, r.TableMax)
	l.known.extendPast(at.Unix() / 3600)
	if l.wants(opLearned) {
		l.publish(&event{op: opLearned, account: key, known: f, hours: hours(at)})
	}
	return t.source, t.network
}

// Near returns whether logins to account from the source and from the network of addr were accepted less than KnownTTL
// before the time at, as far as they were learned or settled.
func (l *Limiter) Near(at time.Time, addr netip.Addr, account string) (source, network bool) {
	key, f, v, ok := l.learnable(at, addr, account, l.rules.Load())
	if !ok {
		return false, false
	}
	t, _ := l.known.lookup(key, f, v)
	return t.source, t.network
}

// learnable returns what a login is known by. ok is false if nothing can be.
func (l *Limiter) learnable(at time.Time, addr netip.Addr, account string, r *rules) (k key, f fingerprints, v validity, ok bool) {
	if account == "" || !addr.IsValid() || r.KnownTTL == 0 || r.exempts(addr) {
		return k, f, v, false
	}
	f.source = blockFingerprint(l.hasher.block(kindSource, Source(addr)))
	f.network = blockFingerprint(l.hasher.block(kindNetwork, Network(addr)))
	return l.hasher.account(account), f, validityAt(at, r.KnownTTL), true
}

// A timeSpan is the time from the earliest to the latest of some logins, in hours from 1970.
type timeSpan struct {
	mu               sync.Mutex
	earliest, latest int64 // 0 before the first
}

// extendPast records that a login was learned that was accepted at the given hour from 1970. Once those that were learned
// span learningHours, the first of them counts as the first accepted login.
func (n *knownTable) extendPast(hours int64) {
	n.past.mu.Lock()
	defer n.past.mu.Unlock()
	if n.past.earliest == 0 || hours < n.past.earliest {
		n.past.earliest = hours
	}
	n.past.latest = max(n.past.latest, hours)
	if n.past.latest-n.past.earliest >= learningHours {
		n.lowerSince(n.past.earliest)
	}
}

// lowerSince records that a login was accepted at the given hour from 1970.
func (n *knownTable) lowerSince(hours int64) {
	for {
		since := n.since.Load()
		if since != 0 && since <= hours || n.since.CompareAndSwap(since, hours) {
			return
		}
	}
}

// learnPast records that an attempt on account with the source and network of f was accepted at v.now, which may be
// before what is known already, unless the account is new and limit accounts are known.
func (n *knownTable) learnPast(account key, f fingerprints, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := n.toLearn(s, account, f, v, limit)
	if a == nil {
		return
	}
	insert(a.networks[:], a.networkAt[:], f.network, v.now)
	n.insertSource(a, f.source, v.now)
}

// insertSource records that an attempt on a from the source f was accepted at the given hour.
func (n *knownTable) insertSource(a *knownAccount, f uint32, at hour) {
	evicted, former, isNew := insert(a.sources[:], a.sourceAt[:], f, at)
	if evicted == f {
		return
	}
	n.sources.remove(evicted)
	n.sources.add(f, at, isNew, isNew || former.periodsSince(at) > 0)
}
