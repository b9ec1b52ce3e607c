package limiter

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// An entry is what is remembered of one thing: 56 octets, of which a table that has just grown leaves as much again
// and more unused. Connections are counted for sources, and for a network those whose source found no room.
type entry struct {
	key          key
	denials      bucket // of a repeat: what one denial cost, until all of it is back
	connects     bucket // of a source: its connections; of a repeat: until it may be tried again
	penaltyUntil ticks  // until when it matters where not all can be served
	holds        uint32 // attempts under way that may yet spend of denials
	open         uint32 // visits
	prelogin     uint32 // visits that have not logged in
	starved      uint8  // how often a source was turned away for want of a turn; denied if it was denied
	kind         kind   // nothing in a slot that is empty
}

// idle reports whether e holds no information and nobody holds e.
func (e *entry) idle(now ticks) bool {
	return e.faint(now) && e.penaltyUntil <= now
}

// faint reports whether all that e still holds is a stain. It goes when there is no room.
func (e *entry) faint(now ticks) bool {
	return e.holds == 0 && e.open == 0 && ticks(e.denials) <= now && ticks(e.connects) <= now
}

// Tables are split so that many callers can use them at once. One with few entries is not, for its sweep must find
// what is idle.
const (
	shards     = 64
	splitAbove = 8192
)

// For each entry that is added, sweepSlots are looked at for one to drop: several, so that the table is emptied again
// after a flood. If the table is full and none is found there, the search goes on as far as searchSlots.
const (
	sweepSlots  = 8
	searchSlots = 64
)

// A table finds entries by their keys. It keeps at most as many as it is told; dropping an idle one loses nothing.
type table struct {
	shards []shard
	hand   atomic.Uint32 // which shard is swept next
	used   atomic.Int64  // entries in all shards
	spare  [2]spare      // networks that found no room: IPv4, all others
}

type spare struct {
	mu sync.Mutex
	entry
}

func (tb *table) init(limit int) {
	n := 1
	if limit > splitAbove {
		n = shards
	}
	tb.shards = make([]shard, n)
	for i := range tb.spare {
		tb.spare[i].key, tb.spare[i].kind = key{lo: uint64(i + 1)}, ofNetwork
	}
}

// shard returns the part of tb that k belongs to. Its slots are found by the other half of k.
func (tb *table) shard(k key) *shard {
	return &tb.shards[k.hi%uint64(len(tb.shards))]
}

// find returns the entry of key k, and the lock it is guarded by, locked. Without one, both are nil; the zero key has
// none.
func (tb *table) find(k key) (*entry, *sync.Mutex) {
	if k.hi == 0 && k.lo <= uint64(len(tb.spare)) {
		return tb.findSpare(k.lo)
	}
	s := tb.shard(k)
	s.mu.Lock()
	if e := s.find(k); e != nil {
		return e, &s.mu
	}
	s.mu.Unlock()
	return nil, nil
}

// take is find, but adds an entry of kind kd where there is none. It returns nil only when the table has limit entries
// and meets none that can go. The caller must put something into a new entry before it unlocks: an idle one may be
// dropped at any time.
func (tb *table) take(now ticks, k key, kd kind, limit int) (*entry, *sync.Mutex) {
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

// overflow returns the entry that networks of addr's family share when there is no room for their own, and its lock,
// locked.
func (tb *table) overflow(addr netip.Addr) (*entry, *sync.Mutex) {
	if addr.Is4() {
		return tb.findSpare(1)
	}
	return tb.findSpare(2)
}

// findSpare is find for key{0, n}, which no hash gives.
func (tb *table) findSpare(n uint64) (*entry, *sync.Mutex) {
	if n == 0 {
		return nil, nil
	}
	s := &tb.spare[n-1]
	s.mu.Lock()
	return &s.entry, &s.mu
}

// sweep looks at the next few slots and drops what is idle there.
func (tb *table) sweep(now ticks, limit int) {
	full := tb.used.Load() >= int64(limit)
	s := &tb.shards[tb.hand.Add(1)%uint32(len(tb.shards))]
	s.mu.Lock()
	dropped := s.sweep(now, full)
	s.mu.Unlock()
	tb.used.Add(-int64(dropped))
}

// count returns how many entries there are of each kind.
func (tb *table) count() (n [kinds]int) {
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
