package limiter

import (
	"math"
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
	devicesKept     = 5 // that have resumed a session
	newDevicesKept  = 3 // that have not: programs that never resume get a new device each time and must not evict others
)

// A knownAccount is what is known of one account, the latest fingerprints of each sort first. It has no pointers.
type knownAccount struct {
	use          bucket  // logins in the reserved lane
	usage        float64 // see addUsage
	credentials  [credentialsKept]uint16
	sources      [sourcesKept]uint32
	networks     [networksKept]uint32
	devices      [devicesKept]uint32
	newDevices   [newDevicesKept]uint32
	credentialAt [credentialsKept]hour // when each was last accepted
	sourceAt     [sourcesKept]hour
	networkAt    [networksKept]hour
	deviceAt     [devicesKept]hour
	newDeviceAt  [newDevicesKept]hour
	latestTenth  uint16 // in which tenth of a second of its hour the latest of credentials was accepted; zero if unknown, see tenthOf
	former       uint16 // a credential that is no longer one of credentials, because it was denied
	deniedAt     hour   // when the latest of credentials was first denied; zero if it was not since it was accepted
}

// valid reports whether any fingerprint of a still counts.
func (a *knownAccount) valid(v validity) bool {
	return a.credentials[0] != 0 && v.covers(a.credentialAt[0]) ||
		a.sources[0] != 0 && v.covers(a.sourceAt[0]) ||
		a.networks[0] != 0 && v.covers(a.networkAt[0]) ||
		a.devices[0] != 0 && v.covers(a.deviceAt[0]) ||
		a.newDevices[0] != 0 && v.covers(a.newDeviceAt[0])
}

// isLatest reports whether f are the first fingerprints of a already, accepted in the hour now.
func (a *knownAccount) isLatest(f fingerprints, now hour) bool {
	return (f.credential == 0 || a.credentials[0] == f.credential && a.credentialAt[0] == now && a.deniedAt == 0) &&
		(f.source == 0 || a.sources[0] == f.source && a.sourceAt[0] == now) &&
		(f.network == 0 || a.networks[0] == f.network && a.networkAt[0] == now) &&
		(f.device == 0 || a.devices[0] == f.device && a.deviceAt[0] == now)
}

// learnCredential records that credential f was accepted, in that tenth of a second of the hour now. If the one before was
// denied, the password was changed.
func (a *knownAccount) learnCredential(f uint16, now hour, tenth uint16) {
	if a.deniedAt != 0 && a.credentials[0] != f {
		a.forgetCredential(a.credentials[0])
	}
	if a.former == f {
		a.former = 0
	}
	a.deniedAt, a.latestTenth = 0, tenth
	moveToFront(a.credentials[:], a.credentialAt[:], f, now)
}

// deniedTime is how many hours the credential that was accepted last stays known while it is denied: the password
// database may be at fault.
const deniedTime = 24

// credentialDenied records that credential f was denied. It stays known for a while if no other was accepted since it
// was. If one was, the password was changed.
func (a *knownAccount) credentialDenied(f uint16, now hour) {
	switch {
	case a.credentials[0] != f:
		a.forgetCredential(f)
	case a.deniedAt == 0:
		a.deniedAt = max(now, 1)
	case a.deniedAt.since(now) >= deniedTime:
		a.forgetCredential(f)
		a.deniedAt = 0
	}
}

// forgetCredential makes credential f unknown.
func (a *knownAccount) forgetCredential(f uint16) {
	if a.former = f; a.credentials[0] == f {
		a.latestTenth = 0 // that of the next one is unknown
	}
	remove(a.credentials[:], a.credentialAt[:], f)
}

// learnDevice records that a login of the device f was accepted. It is new unless the client resumed with it.
func (a *knownAccount) learnDevice(f uint32, resumed bool, now hour) {
	if !resumed {
		moveToFront(a.newDevices[:], a.newDeviceAt[:], f, now)
		return
	}
	remove(a.newDevices[:], a.newDeviceAt[:], f)
	moveToFront(a.devices[:], a.deviceAt[:], f, now)
}

// usageTime is how long the logins of an account count in its usage: each counts e times less with every usageTime.
const usageTime = 10 * time.Minute

// addUsage returns the usage of an account after n more logins at now. A usage is the logarithm of the sum of
// exp(t/usageTime) over the times t of all logins. All of them decay at the same rate, so the order of two usages does
// not change with time: the account with the smaller one has logged in less, lately. Zero is that of no logins.
func addUsage(usage float64, now ticks, n float64) float64 {
	at := float64(now)/float64(usageTime) + math.Log(n)
	more, less := max(usage, at), min(usage, at)
	return more + math.Log1p(math.Exp(less-more))
}

// A knownTable remembers accepted logins by account. Only an accepted login adds to it, so a flood of attempts evicts
// nothing.
type knownTable struct {
	shards  [shardCount]knownShard
	count   atomic.Int64 // accounts in all shards
	since   atomic.Int64 // the hour, from 1970, of the first accepted login of all; 0 before
	past    timeSpan     // of logins that were learned from the past
	sources acceptedSources
}

// blockAccounts is how many accounts a shard adds memory for at a time.
const blockAccounts = 64

// A knownShard keeps its accounts in blocks, not in a map: they are larger than what a map stores without a pointer.
type knownShard struct {
	mu     sync.Mutex
	index  map[key]uint32 // of the account in blocks
	blocks []*[blockAccounts]knownAccount
	free   []uint32 // indexes that no account uses
	denied recent[tombstone]
}

// at returns account i.
func (s *knownShard) at(i uint32) *knownAccount {
	return &s.blocks[i/blockAccounts][i%blockAccounts]
}

// find returns account, or nil if it is not known.
func (s *knownShard) find(account key) *knownAccount {
	if i, ok := s.index[account]; ok {
		return s.at(i)
	}
	return nil
}

// add adds account, which must not be known, and returns it with no fingerprints.
func (s *knownShard) add(account key) *knownAccount {
	if len(s.free) == 0 {
		first := uint32(len(s.blocks) * blockAccounts)
		s.blocks = append(s.blocks, new([blockAccounts]knownAccount))
		for i := range uint32(blockAccounts) {
			s.free = append(s.free, first+blockAccounts-1-i)
		}
	}
	if s.index == nil {
		s.index = map[key]uint32{}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.index[account] = i
	return s.at(i)
}

// remove removes account, which is number i.
func (s *knownShard) remove(account key, i uint32) {
	*s.at(i) = knownAccount{}
	s.free = append(s.free, i)
	delete(s.index, account)
}

func (n *knownTable) shard(account key) *knownShard {
	return &n.shards[account.hi%shardCount]
}

// trust says by what an attempt is known.
type trust struct {
	device     bool // a login of its device to the account was accepted
	source     bool // the account was accepted from its source
	network    bool // the account was accepted from its network
	credential bool // its credential was compared with those accepted, and is one of them
	secrets    bool // some credential of the account is known, whether or not this attempt has it
}

func (s trust) known() bool {
	return s.credential || s.near()
}

// near reports whether the account was accepted from the same device, source or network. That is known without a look
// at the credential, so it tells nobody anything about a password.
func (s trust) near() bool {
	return s.device || s.source || s.network
}

// match says what the credential of an attempt is for its account. No rule may use it before the attempt has paid for a
// look.
type match struct {
	known  bool // it was accepted
	latest bool // it was accepted later than all others that are known
	former bool // it was accepted, but another one later
}

// match returns what f is for a.
func (a *knownAccount) match(f uint16, v validity) (m match) {
	if f == 0 {
		return match{}
	}
	m.known = contains(a.credentials[:], a.credentialAt[:], f, v)
	m.latest = m.known && a.credentials[0] == f
	m.former = m.known && !m.latest || a.former == f
	return m
}

// lookup returns the trust of an attempt on account with fingerprints f, and what its credential is for the account.
func (n *knownTable) lookup(account key, f fingerprints, v validity) (trust, match) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(account)
	if a == nil {
		return trust{}, match{}
	}
	return trust{
		device: contains(a.devices[:], a.deviceAt[:], f.device, v) ||
			contains(a.newDevices[:], a.newDeviceAt[:], f.device, v),
		source:  contains(a.sources[:], a.sourceAt[:], f.source, v),
		network: contains(a.networks[:], a.networkAt[:], f.network, v),
		secrets: a.credentials[0] != 0 && v.covers(a.credentialAt[0]),
	}, a.match(f.credential, v)
}

// learn records that an attempt on account with fingerprints f was accepted at time t, in that tenth of a second of the hour
// v.now, unless the account is new and limit accounts are known. It reports whether that changed anything.
func (n *knownTable) learn(t time.Time, account key, f fingerprints, v validity, tenth uint16, limit int) bool {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := n.toLearn(s, account, f, v, limit)
	if a == nil {
		return false
	}
	n.since.CompareAndSwap(0, t.Unix()/3600)
	if f.credential != 0 {
		a.learnCredential(f.credential, v.now, tenth)
	}
	if f.network != 0 {
		moveToFront(a.networks[:], a.networkAt[:], f.network, v.now)
	}
	if f.device != 0 {
		a.learnDevice(f.device, f.resumed, v.now)
	}
	if f.source != 0 {
		evicted, former, isNew := moveToFront(a.sources[:], a.sourceAt[:], f.source, v.now)
		n.sources.remove(evicted)
		n.sources.add(f.source, v.now, isNew, isNew || former.periodsSince(v.now) != 0)
	}
	return true
}

// toLearn returns account in s, which is locked, or nil if there is nothing to learn: f are its latest fingerprints already,
// or it is new and limit accounts are known.
func (n *knownTable) toLearn(s *knownShard, account key, f fingerprints, v validity, limit int) *knownAccount {
	if a := s.find(account); a != nil && a.isLatest(f, v.now) {
		return nil
	}
	return n.findOrAdd(s, account, v, limit)
}

// findOrAdd returns account in s, which is locked, or nil if it is new and limit accounts are known.
func (n *knownTable) findOrAdd(s *knownShard, account key, v validity, limit int) *knownAccount {
	a := s.find(account)
	if a == nil && n.makeRoom(s, v, limit) {
		a = s.add(account)
	}
	return a
}

// restore adds account from a snapshot, unless the table has it already or nothing of it still counts.
func (n *knownTable) restore(account key, a *knownAccount, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(account) == nil {
		n.restoreIn(s, account, a, v, limit)
	}
}

// restoreIn is restore for an account that s, which is locked, does not have.
func (n *knownTable) restoreIn(s *knownShard, account key, a *knownAccount, v validity, limit int) {
	if !a.valid(v) || !n.makeRoom(s, v, limit) {
		return
	}
	*s.add(account) = *a
	for i, f := range a.sources {
		if f != 0 {
			n.sources.add(f, a.sourceAt[i], true, true)
		}
	}
}

// expiryChecks is how many accounts are checked for expiry each time one is added.
const expiryChecks = 4

// makeRoom counts one more account in s, or returns false if there are limit already. It drops a few expired ones.
func (n *knownTable) makeRoom(s *knownShard, v validity, limit int) bool {
	checked := 0
	for account, i := range s.index {
		if checked++; checked > expiryChecks {
			break
		}
		if a := s.at(i); !a.valid(v) {
			n.drop(s, account, i)
		}
	}
	if n.count.Add(1) > int64(limit) {
		n.count.Add(-1)
		return false
	}
	return true
}

// drop removes account, which is number i of s. s must be locked.
func (n *knownTable) drop(s *knownShard, account key, i uint32) {
	n.count.Add(-1)
	for _, f := range s.at(i).sources {
		n.sources.remove(f)
	}
	s.remove(account, i)
}

// credentialDenied records that credential f of account was denied.
func (n *knownTable) credentialDenied(account key, f uint16, now hour) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(account); a != nil {
		a.credentialDenied(f, now)
	}
}

// countLogin counts one login of account in the known lane, if spend is set under r. It returns the usage of the account
// before, and whether one was left.
func (n *knownTable) countLogin(now ticks, account key, r *limit, spend bool) (usage float64, left bool) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(account)
	if a == nil {
		return 0, false
	}
	usage = a.usage
	a.usage = addUsage(usage, now, 1)
	if !spend || a.use.spent(now, r) >= r.tokens {
		return usage, false
	}
	a.use.spend(now, r)
	return usage, true
}

// countLoginElsewhere counts one login of account at a sibling, which has spent a token of account under r if spend is set, or
// at another gateway.
func (n *knownTable) countLoginElsewhere(now ticks, account key, r *limit, spend bool) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(account); a != nil {
		a.usage = addUsage(a.usage, now, 1)
		if spend {
			a.use.spend(now, r)
		}
	}
}

// usage returns the usage of account.
func (n *knownTable) usage(account key) float64 {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(account); a != nil {
		return a.usage
	}
	return 0
}

// learningHours is how long after the first accepted login nothing is reserved for the known: on the first day, many
// users have not logged in yet.
const learningHours = 24

// learned reports whether the first accepted login is at least learningHours old at time t.
func (n *knownTable) learned(t time.Time) bool {
	since := n.since.Load()
	return since != 0 && t.Unix()/3600-since >= learningHours
}
