package limiter

import (
	"sync"
	"sync/atomic"
	"time"
)

// How many marks an account has. A new one takes the place of the one that has not come for longest, so that somebody
// who logs in from a hundred thousand addresses displaces nobody but himself.
const (
	credentialsKept = 8
	sourcesKept     = 8
	networksKept    = 4
)

// A person is what is known of one account, the latest marks first. It has 112 octets; above 128 a map would keep a
// pointer to it.
type person struct {
	use          bucket // logins in the reserved lane
	credentials  [credentialsKept]uint16
	sources      [sourcesKept]uint32
	networks     [networksKept]uint32
	credentialAt [credentialsKept]hour // when each was last accepted
	sourceAt     [sourcesKept]hour
	networkAt    [networksKept]hour
}

// fresh reports whether any mark of p still counts.
func (p *person) fresh(k kept) bool {
	return p.credentials[0] != 0 && k.fresh(p.credentialAt[0]) ||
		p.sources[0] != 0 && k.fresh(p.sourceAt[0]) ||
		p.networks[0] != 0 && k.fresh(p.networkAt[0])
}

// latest reports whether m are the first marks of p already, as of now.
func (p *person) latest(m fingerprints, now hour) bool {
	return (m.credential == 0 || p.credentials[0] == m.credential && p.credentialAt[0] == now) &&
		(m.source == 0 || p.sources[0] == m.source && p.sourceAt[0] == now) &&
		(m.network == 0 || p.networks[0] == m.network && p.networkAt[0] == now)
}

// A known table remembers who was accepted. Nothing but an accepted login ever adds to it, so no flood of attempts can
// push anybody out. It is guarded in parts, by account.
type known struct {
	parts    [shards]part
	accounts atomic.Int64 // in all parts
	since    atomic.Int64 // the hour, from 1970, in which the first of all was accepted; 0 before
	sources  sources
}

type part struct {
	mu      sync.Mutex
	persons map[key]person
}

func (n *known) part(account key) *part {
	return &n.parts[account.hi%shards]
}

// A standing is what is known of an attempt.
type trust struct {
	credential bool // it is one that last succeeded
	source     bool // the account was accepted from its source
	network    bool // the account was accepted from its network
	secrets    bool // some credential of the account is known, which this attempt may or may not have
}

func (s trust) known() bool {
	return s.credential || s.source || s.network
}

// near reports whether the account was accepted from here, whatever its
// credential.
func (s trust) near() bool {
	return s.source || s.network
}

// marks are those of one attempt. Each may be zero, which is never known and never learned.
type fingerprints struct {
	credential      uint16
	source, network uint32
}

// look returns how an attempt on account with marks m stands.
func (n *known) look(account key, m fingerprints, k kept) trust {
	part := n.part(account)
	part.mu.Lock()
	defer part.mu.Unlock()
	p, ok := part.persons[account]
	if !ok {
		return trust{}
	}
	return trust{
		credential: has(p.credentials[:], p.credentialAt[:], m.credential, k),
		source:     has(p.sources[:], p.sourceAt[:], m.source, k),
		network:    has(p.networks[:], p.networkAt[:], m.network, k),
		secrets:    p.credentials[0] != 0 && k.fresh(p.credentialAt[0]),
	}
}

// learn notes that an attempt on account with marks m was accepted at time t. At most limit accounts are known.
func (n *known) learn(t time.Time, account key, m fingerprints, k kept, limit int) {
	part := n.part(account)
	part.mu.Lock()
	defer part.mu.Unlock()
	p, ok := part.persons[account]
	if ok && p.latest(m, k.now) || !ok && !n.admit(part, k, limit) {
		return
	}
	n.since.CompareAndSwap(0, t.Unix()/3600)
	if m.credential != 0 {
		renew(p.credentials[:], p.credentialAt[:], m.credential, k.now)
	}
	if m.network != 0 {
		renew(p.networks[:], p.networkAt[:], m.network, k.now)
	}
	if m.source != 0 {
		left, isNew := renew(p.sources[:], p.sourceAt[:], m.source, k.now)
		n.sources.leave(left)
		n.sources.accept(m.source, k.now, isNew)
	}
	part.persons[account] = p
}

// restore adds account as a snapshot knew it, unless there is newer knowledge of it, or none of that counts any more.
func (n *known) restore(account key, p *person, k kept, limit int) {
	part := n.part(account)
	part.mu.Lock()
	defer part.mu.Unlock()
	if _, ok := part.persons[account]; ok || !p.fresh(k) || !n.admit(part, k, limit) {
		return
	}
	part.persons[account] = *p
	for i, m := range p.sources {
		if m != 0 {
			n.sources.accept(m, p.sourceAt[i], true)
		}
	}
}

// lookAround is how many persons are looked at for one to forget, for each that is added.
const lookAround = 4

// admit makes room for one more person in part, or reports that there is none.
func (n *known) admit(part *part, k kept, limit int) bool {
	if part.persons == nil {
		part.persons = map[key]person{}
	}
	looked := 0
	for account, p := range part.persons {
		if looked++; looked > lookAround {
			break
		}
		if !p.fresh(k) {
			delete(part.persons, account)
			n.accounts.Add(-1)
			for _, m := range p.sources {
				n.sources.leave(m)
			}
		}
	}
	if n.accounts.Add(1) > int64(limit) {
		n.accounts.Add(-1)
		return false
	}
	return true
}

// forget notes that credential c of account is no longer one.
func (n *known) forget(account key, c uint16) {
	part := n.part(account)
	part.mu.Lock()
	defer part.mu.Unlock()
	if p, ok := part.persons[account]; ok {
		remove(p.credentials[:], p.credentialAt[:], c)
		part.persons[account] = p
	}
}

// spend takes a login in the reserved lane from what account has of them, or reports that it has none.
func (n *known) spend(now ticks, account key, r *limit) bool {
	part := n.part(account)
	part.mu.Lock()
	defer part.mu.Unlock()
	p, ok := part.persons[account]
	if !ok || p.use.spent(now, r) >= r.tokens {
		return false
	}
	p.use.spend(now, r)
	part.persons[account] = p
	return true
}

// learning is how long the known table is too young to reserve anything for those in it: who has not come yet on the
// first day is no stranger.
const learning = 24 // hours

// learned reports whether the table has a day's memory at time t.
func (n *known) learned(t time.Time) bool {
	since := n.since.Load()
	return since != 0 && t.Unix()/3600-since >= learning
}
