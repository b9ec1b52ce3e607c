package watch

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A top counts the most frequent keys in bounded memory (Space-Saving, Metwally et al. 2005). When there is no room for a
// new key, the key replaces the rarest one and takes over its count, which is noted as the possible error. Every key with
// more than 1/room of all counts is in it.
type top[K comparable] struct {
	capacity int
	at       map[K]int // where in entries
	entries  []topEntry[K]
	order    []int // the entries as a heap, the rarest first
}

// A topEntry is one key.
type topEntry[K comparable] struct {
	key    K
	n      int
	over   int // at most so many of n were of other keys
	place  int // in order
	spread Spread
	first  time.Time
	last   time.Time
}

func newTop[K comparable](room int) *top[K] {
	return &top[K]{capacity: room, at: map[K]int{}}
}

// count counts key at time t. with is the hash of what it came together with.
func (p *top[K]) count(t time.Time, key K, with uint64) {
	i, there := p.at[key]
	switch {
	case there:
	case len(p.entries) < p.capacity:
		i = len(p.entries)
		p.at[key] = i
		p.entries = append(p.entries, topEntry[K]{key: key, first: t, place: i})
		heap.Push((*topHeap[K])(p), i)
	default:
		i = p.order[0]
		rarest := &p.entries[i]
		delete(p.at, rarest.key)
		p.at[key] = i
		*rarest = topEntry[K]{key: key, n: rarest.n, over: rarest.n, first: t}
	}
	e := &p.entries[i]
	e.n++
	e.spread.add(with)
	e.last = t
	heap.Fix((*topHeap[K])(p), e.place)
}

// loudest returns the n most frequent keys as targets. name returns the name of a key.
func (p *top[K]) mostFrequent(n int, name func(K) string) []Target {
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

// topHeap is the order of a top as container/heap sees it. The entries stay where they are, so that the map does, too.
type topHeap[K comparable] top[K]

func (h *topHeap[K]) Len() int           { return len(h.order) }
func (h *topHeap[K]) Less(i, j int) bool { return h.entries[h.order[i]].n < h.entries[h.order[j]].n }
func (h *topHeap[K]) Swap(i, j int) {
	h.order[i], h.order[j] = h.order[j], h.order[i]
	h.entries[h.order[i]].place, h.entries[h.order[j]].place = i, j
}

// Push adds an entry, for container/heap.
func (h *topHeap[K]) Push(x any) { h.order = append(h.order, x.(int)) }

// Pop takes the last one off, for container/heap.
func (h *topHeap[K]) Pop() any {
	i := h.order[len(h.order)-1]
	h.order = h.order[:len(h.order)-1]
	return i
}
