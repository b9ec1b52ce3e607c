package limiter

import "sync"

// A shard is a hash table with open addressing and linear probing. Its entries have no pointers, so a million of them
// cost the garbage collector nothing. All but mu is guarded by mu.
type shard struct {
	mu        sync.Mutex
	entries   []entry // their number is a power of two
	used      int
	nextSweep int // the entry to check next
	count     [kindCount]int
	_         [64]byte // prevents false sharing between the locks of two shards
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

// add adds an entry for k, which must have none. It invalidates all pointers to entries of s.
func (s *shard) add(k key, kd kind) *entry {
	if 4*(s.used+1) > 3*len(s.entries) {
		s.grow()
	}
	s.used++
	s.count[kd]++
	return s.insert(entry{key: k, kind: kd})
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
