package watch

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A top counts the keys that come most often in bounded memory (Space-Saving, Metwally et al. 2005): when there is no room
// for a new key, it takes the place and the count of the rarest, and notes by how much that may be too many. Whatever
// came more often than one in room times is in it.
type top[K comparable] struct {
	room    int
	at      map[K]int // where in entries
	entries []topEntry[K]
}

// A topEntry is one key. The entries are a heap, the rarest first.
type topEntry[K comparable] struct {
	key    K
	n      int
	over   int // of n, at most so many were others
	spread Spread
	first  time.Time
	last   time.Time
}

func newTop[K comparable](room int) *top[K] {
	return &top[K]{room: room, at: map[K]int{}}
}

// count counts key at time t, which came together with something that has this hash.
func (p *top[K]) count(t time.Time, key K, with uint64) {
	i, there := p.at[key]
	switch {
	case there:
	case len(p.entries) < p.room:
		heap.Push((*topHeap[K])(p), topEntry[K]{key: key, first: t})
		i = p.at[key]
	default:
		rarest := &p.entries[0]
		delete(p.at, rarest.key)
		*rarest = topEntry[K]{key: key, n: rarest.n, over: rarest.n, first: t}
		p.at[key], i = 0, 0
	}
	e := &p.entries[i]
	e.n++
	e.spread |= 1 << (with >> 58)
	e.last = t
	heap.Fix((*topHeap[K])(p), i)
}

// loudest returns the n keys counted most often as targets, whose names name gives.
func (p *top[K]) loudest(n int, name func(K) string) []Target {
	sorted := slices.Clone(p.entries)
	slices.SortFunc(sorted, func(a, b topEntry[K]) int {
		return cmp.Or(cmp.Compare(b.n-b.over, a.n-a.over), a.first.Compare(b.first))
	})
	targets := make([]Target, 0, min(n, len(sorted)))
	for _, e := range sorted[:min(n, len(sorted))] {
		targets = append(targets, Target{
			Name: name(e.key), Denials: e.n, Over: e.over, Spread: e.spread, First: e.first, Last: e.last,
		})
	}
	return targets
}

// topHeap is a top as container/heap sees it.
type topHeap[K comparable] top[K]

func (h *topHeap[K]) Len() int           { return len(h.entries) }
func (h *topHeap[K]) Less(i, j int) bool { return h.entries[i].n < h.entries[j].n }
func (h *topHeap[K]) Swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.at[h.entries[i].key], h.at[h.entries[j].key] = i, j
}

// Push adds an entry, for container/heap.
func (h *topHeap[K]) Push(x any) {
	e := x.(topEntry[K])
	h.at[e.key] = len(h.entries)
	h.entries = append(h.entries, e)
}

// Pop removes the last entry, for container/heap.
func (h *topHeap[K]) Pop() any {
	e := h.entries[len(h.entries)-1]
	h.entries = h.entries[:len(h.entries)-1]
	delete(h.at, e.key)
	return e
}
