package limiter

import "sync"

// A shard is an open table with linear probing: entries lie side by side without pointers, so that a million of them
// cost the garbage collector nothing. All but mu is guarded by mu.
type shard struct {
	mu    sync.Mutex
	slots []entry // a power of two of them
	used  int
	hand  int // which slot is swept next
	count [kinds]int
	_     [64]byte // callers of one shard do not slow down those of the next
}

// smallest is how many slots the first entry makes.
const smallest = 8

// home is where the search for k begins.
func (s *shard) home(k key) int {
	return int(k.lo) & (len(s.slots) - 1)
}

// find returns the entry of k, or nil.
func (s *shard) find(k key) *entry {
	if s.used == 0 {
		return nil
	}
	mask := len(s.slots) - 1
	for i := s.home(k); ; i = (i + 1) & mask {
		e := &s.slots[i]
		if e.key == k && e.kind != nothing {
			return e
		}
		if e.kind == nothing {
			return nil
		}
	}
}

// add adds an entry for k, which has none. Pointers from before are void.
func (s *shard) add(k key, kd kind) *entry {
	if 4*(s.used+1) > 3*len(s.slots) {
		s.grow()
	}
	s.used++
	s.count[kd]++
	return s.put(entry{key: k, kind: kd})
}

// put stores e in the first slot that is free for it.
func (s *shard) put(e entry) *entry {
	mask := len(s.slots) - 1
	i := s.home(e.key)
	for s.slots[i].kind != nothing {
		i = (i + 1) & mask
	}
	s.slots[i] = e
	return &s.slots[i]
}

// grow doubles the slots.
func (s *shard) grow() {
	old := s.slots
	s.slots = make([]entry, max(smallest, 2*len(old)))
	for i := range old {
		if old[i].kind != nothing {
			s.put(old[i])
		}
	}
}

// sweep looks at the next few slots, drops the entries there that are idle, and returns how many those were. If the
// table is full, it looks further for one to drop, and makes do with one that is faint.
func (s *shard) sweep(now ticks, full bool) (dropped int) {
	for n := 0; n < len(s.slots) && (n < sweepSlots || full && dropped == 0 && n < searchSlots); n++ {
		s.hand &= len(s.slots) - 1
		e := &s.slots[s.hand]
		if e.kind != nothing && (e.idle(now) || full && dropped == 0 && e.faint(now)) {
			s.drop(s.hand)
			dropped++
		} else {
			s.hand++
		}
	}
	return dropped
}

// drop empties slot i, and moves up those behind it that would no longer be found.
func (s *shard) drop(i int) {
	s.used--
	s.count[s.slots[i].kind]--
	mask := len(s.slots) - 1
	for j := (i + 1) & mask; s.slots[j].kind != nothing; j = (j + 1) & mask {
		if home := s.home(s.slots[j].key); (j-home)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = entry{}
}
