package limiter

import (
	"sync"
	"sync/atomic"
	"time"
)

// How many fingerprints an account keeps. A new one replaces the one that was accepted least recently, so a user who
// logs in from a hundred thousand addresses evicts only their own.
const (
	credentialsKept = 8
	sourcesKept     = 8
	networksKept    = 4
)

// A knownAccount is what is known of one account, the latest fingerprints first. It has 112 octets; above 128 a map
// would store a pointer to it.
type knownAccount struct {
	use          bucket // logins in the reserved lane
	credentials  [credentialsKept]uint16
	sources      [sourcesKept]uint32
	networks     [networksKept]uint32
	credentialAt [credentialsKept]hour // when each was last accepted
	sourceAt     [sourcesKept]hour
	networkAt    [networksKept]hour
}

// valid reports whether any fingerprint of a still counts.
func (a *knownAccount) valid(v validity) bool {
	return a.credentials[0] != 0 && v.covers(a.credentialAt[0]) ||
		a.sources[0] != 0 && v.covers(a.sourceAt[0]) ||
		a.networks[0] != 0 && v.covers(a.networkAt[0])
}

// isLatest reports whether f are the first fingerprints of a already, accepted in the hour now.
func (a *knownAccount) isLatest(f fingerprints, now hour) bool {
	return (f.credential == 0 || a.credentials[0] == f.credential && a.credentialAt[0] == now) &&
		(f.source == 0 || a.sources[0] == f.source && a.sourceAt[0] == now) &&
		(f.network == 0 || a.networks[0] == f.network && a.networkAt[0] == now)
}

// A knownTable remembers accepted logins by account. Only an accepted login adds to it, so a flood of attempts evicts
// nothing.
type knownTable struct {
	shards  [shardCount]knownShard
	count   atomic.Int64 // accounts in all shards
	since   atomic.Int64 // the hour, from 1970, of the first accepted login of all; 0 before
	sources acceptedSources
}

type knownShard struct {
	mu       sync.Mutex
	accounts map[key]knownAccount
}

func (n *knownTable) shard(account key) *knownShard {
	return &n.shards[account.hi%shardCount]
}

// trust says by what an attempt is known.
type trust struct {
	credential bool // its credential was accepted
	source     bool // the account was accepted from its source
	network    bool // the account was accepted from its network
	secrets    bool // some credential of the account is known, whether or not this attempt has it
}

func (s trust) known() bool {
	return s.credential || s.source || s.network
}

// near reports whether the account was accepted from the same source or network.
func (s trust) near() bool {
	return s.source || s.network
}

// lookup returns the trust of an attempt on account with fingerprints f.
func (n *knownTable) lookup(account key, f fingerprints, v validity) trust {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[account]
	if !ok {
		return trust{}
	}
	return trust{
		credential: contains(a.credentials[:], a.credentialAt[:], f.credential, v),
		source:     contains(a.sources[:], a.sourceAt[:], f.source, v),
		network:    contains(a.networks[:], a.networkAt[:], f.network, v),
		secrets:    a.credentials[0] != 0 && v.covers(a.credentialAt[0]),
	}
}

// learn records that an attempt on account with fingerprints f was accepted at time t, unless the account is new and
// limit accounts are known.
func (n *knownTable) learn(t time.Time, account key, f fingerprints, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[account]
	if ok && a.isLatest(f, v.now) || !ok && !n.makeRoom(s, v, limit) {
		return
	}
	n.since.CompareAndSwap(0, t.Unix()/3600)
	if f.credential != 0 {
		moveToFront(a.credentials[:], a.credentialAt[:], f.credential, v.now)
	}
	if f.network != 0 {
		moveToFront(a.networks[:], a.networkAt[:], f.network, v.now)
	}
	if f.source != 0 {
		evicted, isNew := moveToFront(a.sources[:], a.sourceAt[:], f.source, v.now)
		n.sources.remove(evicted)
		n.sources.add(f.source, v.now, isNew)
	}
	s.accounts[account] = a
}

// restore adds account from a snapshot, unless the table has it already or nothing of it still counts.
func (n *knownTable) restore(account key, a *knownAccount, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.accounts[account]; ok || !a.valid(v) || !n.makeRoom(s, v, limit) {
		return
	}
	s.accounts[account] = *a
	for i, f := range a.sources {
		if f != 0 {
			n.sources.add(f, a.sourceAt[i], true)
		}
	}
}

// expiryChecks is how many accounts are checked for expiry each time one is added.
const expiryChecks = 4

// makeRoom counts one more account in s, or returns false if there are limit already. It drops a few expired ones.
func (n *knownTable) makeRoom(s *knownShard, v validity, limit int) bool {
	if s.accounts == nil {
		s.accounts = map[key]knownAccount{}
	}
	checked := 0
	for account, a := range s.accounts {
		if checked++; checked > expiryChecks {
			break
		}
		if !a.valid(v) {
			delete(s.accounts, account)
			n.count.Add(-1)
			for _, f := range a.sources {
				n.sources.remove(f)
			}
		}
	}
	if n.count.Add(1) > int64(limit) {
		n.count.Add(-1)
		return false
	}
	return true
}

// forgetCredential makes credential f of account unknown.
func (n *knownTable) forgetCredential(account key, f uint16) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.accounts[account]; ok {
		remove(a.credentials[:], a.credentialAt[:], f)
		s.accounts[account] = a
	}
}

// spendUse spends one login of account in the reserved lane, or returns false if it has none left.
func (n *knownTable) spendUse(now ticks, account key, r *limit) bool {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[account]
	if !ok || a.use.spent(now, r) >= r.tokens {
		return false
	}
	a.use.spend(now, r)
	s.accounts[account] = a
	return true
}

// learningHours is how long after the first accepted login nothing is reserved for the known: on the first day, many
// users have not logged in yet.
const learningHours = 24

// learned reports whether the first accepted login is at least learningHours old at time t.
func (n *knownTable) learned(t time.Time) bool {
	since := n.since.Load()
	return since != 0 && t.Unix()/3600-since >= learningHours
}

// acceptedSources are all sources from which some account was accepted. They are the sources of the known table, so
// they are bounded as it is.
type acceptedSources struct {
	mu      sync.Mutex
	entries map[uint32]acceptedSource // by fingerprint
}

type acceptedSource struct {
	accounts uint32 // how many accounts have its fingerprint
	at       hour   // when the latest of them was accepted
}

// add records that an account was accepted from the source f, which may be new to that account.
func (s *acceptedSources) add(f uint32, at hour, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts == 0 || a.at.since(at) > 0 {
		a.at = at
	}
	if isNew {
		a.accounts++
	}
	if s.entries == nil {
		s.entries = map[uint32]acceptedSource{}
	}
	s.entries[f] = a
}

// remove records that an account lost the fingerprint f, unless f is zero.
func (s *acceptedSources) remove(f uint32) {
	if f == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[f]
	if a.accounts--; a.accounts == 0 {
		delete(s.entries, f)
		return
	}
	s.entries[f] = a
}

// has reports whether a login from the source f that still counts was accepted.
func (s *acceptedSources) has(f uint32, v validity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.entries[f]
	return ok && v.covers(a.at)
}

// A fingerprint stands for one credential, source or network: a part of its digest. Zero means none.
//
// That of a credential has 16 bits. A guess has one chance in 65,536 of matching it, and then gains only a faster
// denial by the backend. An attacker who steals the table can exclude all but a 65,536th of all passwords, which does
// not help against a good one.
type fingerprint interface{ ~uint16 | ~uint32 }

// credentialFingerprint returns the fingerprint of c, or zero if no secret was shown.
func credentialFingerprint(c Credential) uint16 {
	if !c.shown() {
		return 0
	}
	return max(uint16(c[0])<<8|uint16(c[1]), 1)
}

// blockFingerprint returns the fingerprint of the source or network with key k.
func blockFingerprint(k key) uint32 {
	return max(uint32(k.hi>>32), 1)
}

// fingerprints are those of one attempt. Each may be zero, which is never known and never learned.
type fingerprints struct {
	credential      uint16
	source, network uint32
}

// An hour is a time as the known table counts it, on the wall clock, because the table outlives the process. It wraps
// around after seven years, which is longer than anything is known.
type hour uint16

// hourOf returns the hour of t.
func hourOf(t time.Time) hour {
	return hour(t.Unix() / 3600)
}

// since returns the hours from h to now, zero if h is in the future.
func (h hour) since(now hour) int {
	return max(int(int16(now-h)), 0)
}

// validity says which accepted logins still count: those less than ttl hours before now.
type validity struct {
	now hour
	ttl int
}

// validityAt returns the validity at t. It rounds ttl up to a whole hour, because the known table counts hours.
func validityAt(t time.Time, ttl time.Duration) validity {
	return validity{hourOf(t), int((ttl + time.Hour - 1) / time.Hour)}
}

// covers reports whether a login accepted at h still counts.
func (v validity) covers(h hour) bool {
	return h.since(v.now) < v.ttl
}

// An account keeps a list of fingerprints of each sort, the latest first, and beside it when each was last accepted.

// contains reports whether f is in list and still counts.
func contains[F fingerprint](list []F, at []hour, f F, v validity) bool {
	for i := range list {
		if list[i] == f {
			return f != 0 && v.covers(at[i])
		}
	}
	return false
}

// moveToFront puts f first in list. If f is new and the list is full, the last one is evicted and returned.
func moveToFront[F fingerprint](list []F, at []hour, f F, now hour) (evicted F, isNew bool) {
	i := 0
	for i < len(list)-1 && list[i] != f && list[i] != 0 {
		i++
	}
	if isNew = list[i] != f; isNew {
		evicted = list[i]
	}
	copy(list[1:i+1], list[:i])
	copy(at[1:i+1], at[:i])
	list[0], at[0] = f, now
	return evicted, isNew
}

// remove removes f from list.
func remove[F fingerprint](list []F, at []hour, f F) {
	for i := range list {
		if list[i] == f {
			copy(list[i:], list[i+1:])
			copy(at[i:], at[i+1:])
			list[len(list)-1] = 0
			return
		}
	}
}
