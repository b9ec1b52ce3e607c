package limiter

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
)

// An entry holds what is remembered of one source, network, prefix, pair, account, repeat or use: 64 octets. A table
// that has just grown has as many octets again, and more, unused. Connections are counted for sources, and for a network
// those of sources without an entry.
type entry struct {
	key          key
	denials      bucket // of a repeat: the time until which its denial is charged
	looks        bucket // looks at credentials, see look; of a repeat: the time until which the look at it is charged
	connects     bucket // of a source: its connections; of a repeat: the time until which it is one; of a pair, see noteDenial
	penaltyUntil ticks  // see penalize
	holds        uint32 // attempts under way that may still spend a token of denials
	open         uint32 // connections
	prelogin     uint32 // connections that have not logged in
	lookHolds    uint16 // attempts under way that may still spend a token of looks
	starved      uint8  // how often a source was starved; starvedDenied if it was denied; of a repeat, see deniedMatch; of a pair, see noteDenial
	kind         kind   // kindNone if the entry is empty
}

// lookHoldsMax is how many looks may be held in an entry.
const lookHoldsMax = math.MaxUint16

// idle reports whether e holds no information.
func (e *entry) idle(now ticks) bool {
	return e.evictable(now) && e.penaltyUntil <= now && ticks(e.looks) <= now
}

// evictable reports whether e holds no information except perhaps a penalty, or the looks of a pair, so that it may be
// dropped from a full table. Those looks are counted for the source and the account as well.
func (e *entry) evictable(now ticks) bool {
	return e.holds == 0 && e.lookHolds == 0 && e.open == 0 &&
		ticks(e.denials) <= now && (e.kind == kindPair || ticks(e.looks) <= now) && ticks(e.connects) <= now
}

// A large table is split into shards, so that goroutines rarely wait for each other. A small one is not: its sweep must
// find the idle entries.
const (
	shardCount = 64
	splitAbove = 8192 // entries
)

// Each time an entry is added, the next sweepMin entries of a shard are checked and the idle ones dropped: several, so
// that the table empties after a flood. If the table is full and none of them can go, up to sweepMax are checked.
const (
	sweepMin = 8
	sweepMax = 64
)

// A table finds entries by their keys. The limit of its size is passed with each use. Dropping an idle entry loses
// nothing.
type table struct {
	shards    []shard
	nextSweep atomic.Uint32  // the shard to sweep next
	used      atomic.Int64   // entries in all shards
	shared    [2]sharedEntry // for networks without an entry of their own: IPv4, all others
}

type sharedEntry struct {
	mu sync.Mutex
	entry
}

func (tb *table) init(limit int) {
	n := 1
	if limit > splitAbove {
		n = shardCount
	}
	tb.shards = make([]shard, n)
	for i := range tb.shared {
		tb.shared[i].key, tb.shared[i].kind = key{lo: uint64(i + 1)}, kindNetwork
	}
}

// shard returns the shard of k. It depends on one half of k, the position in the shard on the other.
func (tb *table) shard(k key) *shard {
	return &tb.shards[k.hi%uint64(len(tb.shards))]
}

// find returns the entry of key k and the lock that guards it, locked. If there is none, both are nil; the zero key
// never has one.
func (tb *table) find(k key) (*entry, *sync.Mutex) {
	if k.hi == 0 && k.lo <= uint64(len(tb.shared)) {
		return tb.findShared(k.lo)
	}
	s := tb.shard(k)
	s.mu.Lock()
	if e := s.find(k); e != nil {
		return e, &s.mu
	}
	s.mu.Unlock()
	return nil, nil
}

// findOrAdd is like find, but adds an entry of kind kd if there is none. It returns nil only if the table has limit
// entries and the sweep can drop none. A new entry must be changed before it is unlocked: an idle one may be dropped at
// any time.
func (tb *table) findOrAdd(now ticks, k key, kd kind, limit int) (*entry, *sync.Mutex) {
	if e, mu := tb.find(k); e != nil {
		return e, mu
	}
	tb.sweep(now, limit)
	s := tb.shard(k)
	s.mu.Lock()
	e := s.find(k)
	if e == nil {
		if tb.used.Add(1) > int64(limit) {
			tb.used.Add(-1)
			s.mu.Unlock()
			return nil, nil
		}
		e = s.add(k, kd)
	}
	return e, &s.mu
}

// findSharedByFamily returns the entry that networks of addr's family share if the table is full, and its lock, locked.
func (tb *table) findSharedByFamily(addr netip.Addr) (*entry, *sync.Mutex) {
	if addr.Is4() {
		return tb.findShared(1)
	}
	return tb.findShared(2)
}

// findShared is find for key{0, n}, which the hash never returns.
func (tb *table) findShared(n uint64) (*entry, *sync.Mutex) {
	if n == 0 {
		return nil, nil
	}
	s := &tb.shared[n-1]
	s.mu.Lock()
	return &s.entry, &s.mu
}

// isFull reports whether tb has limit entries.
func (tb *table) isFull(limit int) bool {
	return tb.used.Load() >= int64(limit)
}

// sweep checks a few entries of the next shard and drops the idle ones.
func (tb *table) sweep(now ticks, limit int) {
	full := tb.isFull(limit)
	s := &tb.shards[tb.nextSweep.Add(1)%uint32(len(tb.shards))]
	s.mu.Lock()
	dropped := s.sweep(now, full)
	s.mu.Unlock()
	tb.used.Add(-int64(dropped))
}

// count returns the number of entries of each kind.
func (tb *table) count() (n [kindCount]int) {
	for i := range tb.shards {
		s := &tb.shards[i]
		s.mu.Lock()
		for k, c := range s.count {
			n[k] += c
		}
		s.mu.Unlock()
	}
	return n
}

// A shard is a hash table with open addressing and linear probing. Its entries have no pointers, so a million of them
// cost the garbage collector nothing. All but mu is guarded by mu.
type shard struct {
	mu        sync.Mutex
	entries   []entry // their number is a power of two
	used      int
	nextSweep int // the entry to check next
	count     [kindCount]int
	own       map[key]ownCounts // what only this gateway counts, by the keys of entries
	rest      ownCounts         // likewise, for those keys together for which own is full
	cleared   recent[key]       // pairs and repeats that others have cleared when there was no entry of them
	_         [64]byte          // prevents false sharing between the locks of two shards
}

// minEntries is the size of a shard after its first entry.
const minEntries = 8

// start returns the index at which the search for k begins.
func (s *shard) start(k key) int {
	return int(k.lo) & (len(s.entries) - 1)
}

// find returns the entry of k, or nil.
func (s *shard) find(k key) *entry {
	if s.used == 0 {
		return nil
	}
	mask := len(s.entries) - 1
	for i := s.start(k); ; i = (i + 1) & mask {
		e := &s.entries[i]
		if e.key == k && e.kind != kindNone {
			return e
		}
		if e.kind == kindNone {
			return nil
		}
	}
}

// add adds an entry for k, which must have none. If it was cleared lately, the entry shows it, see Limiter.clear. It
// invalidates all pointers to entries of s.
func (s *shard) add(k key, kd kind) *entry {
	if 4*(s.used+1) > 3*len(s.entries) {
		s.grow()
	}
	s.used++
	s.count[kd]++
	e := entry{key: k, kind: kd}
	if at, ok := s.cleared[k]; ok {
		e.penaltyUntil = at.add(clearTime)
	}
	return s.insert(e)
}

// insert stores e at the first free index from its start.
func (s *shard) insert(e entry) *entry {
	mask := len(s.entries) - 1
	i := s.start(e.key)
	for s.entries[i].kind != kindNone {
		i = (i + 1) & mask
	}
	s.entries[i] = e
	return &s.entries[i]
}

// grow doubles the size of s.
func (s *shard) grow() {
	old := s.entries
	s.entries = make([]entry, max(minEntries, 2*len(old)))
	for i := range old {
		if old[i].kind != kindNone {
			s.insert(old[i])
		}
	}
}

// sweep checks the next few entries, drops the idle ones, and returns how many it dropped. If the table is full, it
// continues until it has dropped one, up to sweepMax, and may drop an evictable one.
func (s *shard) sweep(now ticks, full bool) (dropped int) {
	for n := 0; n < len(s.entries) && (n < sweepMin || full && dropped == 0 && n < sweepMax); n++ {
		s.nextSweep &= len(s.entries) - 1
		e := &s.entries[s.nextSweep]
		if e.kind != kindNone && (e.idle(now) || full && dropped == 0 && e.evictable(now)) {
			s.drop(s.nextSweep)
			dropped++
		} else {
			s.nextSweep++
		}
	}
	return dropped
}

// drop empties entry i, and moves back those behind it that could no longer be found.
func (s *shard) drop(i int) {
	s.used--
	s.count[s.entries[i].kind]--
	mask := len(s.entries) - 1
	for j := (i + 1) & mask; s.entries[j].kind != kindNone; j = (j + 1) & mask {
		if start := s.start(s.entries[j].key); (j-start)&mask >= (j-i)&mask {
			s.entries[i] = s.entries[j]
			i = j
		}
	}
	s.entries[i] = entry{}
}
