package watch

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A top counts the most frequent keys in bounded memory (Space-Saving, Metwally et al. 2005). When it is full, a new
// key replaces the rarest one and takes over its count, which is kept as the possible error. It has every key with more
// than 1/capacity of all counts.
type top[K comparable] struct {
	capacity int
	at       map[K]int // index in entries
	entries  []topEntry[K]
	order    []int // the entries as a heap, the rarest first
}

// A topEntry is one key.
type topEntry[K comparable] struct {
	key    K
	n      int
	over   int // at most this many of n were of other keys
	place  int // index in order
	spread Spread
	first  time.Time
	last   time.Time
}

func newTop[K comparable](capacity int) *top[K] {
	return &top[K]{capacity: capacity, at: map[K]int{}}
}

// count counts key at time t. with is the hash of a thing whose distinct number is estimated for each key.
func (p *top[K]) count(t time.Time, key K, with uint64) { p.add(t, key, with, 1) }

// add counts key n times.
func (p *top[K]) add(t time.Time, key K, with uint64, n int) {
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
	e.n += n
	e.spread.add(with)
	e.last = t
	heap.Fix((*topHeap[K])(p), e.place)
}

// mostFrequent returns the n most frequent keys as targets. name returns the name of a key.
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

// topHeap implements heap.Interface with the order of a top. The entries do not move, so the map need not change.
type topHeap[K comparable] top[K]

func (h *topHeap[K]) Len() int           { return len(h.order) }
func (h *topHeap[K]) Less(i, j int) bool { return h.entries[h.order[i]].n < h.entries[h.order[j]].n }
func (h *topHeap[K]) Swap(i, j int) {
	h.order[i], h.order[j] = h.order[j], h.order[i]
	h.entries[h.order[i]].place, h.entries[h.order[j]].place = i, j
}

// Push implements heap.Interface.
func (h *topHeap[K]) Push(x any) { h.order = append(h.order, x.(int)) }

// Pop implements heap.Interface.
func (h *topHeap[K]) Pop() any {
	i := h.order[len(h.order)-1]
	h.order = h.order[:len(h.order)-1]
	return i
}
