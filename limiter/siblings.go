package limiter

import (
	"slices"
	"sync"
	"time"
)

// open is what one process has open in an entry. It is part of what the entry counts.
type open struct {
	holds, looks, connections, prelogin uint32
}

// siblings are the other processes of a gateway, and what each of them has open here.
type siblings struct {
	mu sync.Mutex
	of map[int]map[key]open
}

// add returns what the sibling number n has open. It is empty if n is new.
func (s *siblings) add(n int) map[key]open {
	if s.of == nil {
		s.of = map[int]map[key]open{}
	}
	if s.of[n] == nil {
		s.of[n] = map[key]open{}
	}
	return s.of[n]
}

// setIndebted sets whether buckets may go into debt because of siblings. The caller holds l.cut or the lock of siblings.
func (l *Limiter) setIndebted() {
	ofSibling := func(f *Feed) bool { return !f.gateways }
	l.indebted.Store(len(l.siblings.of) > 0 || slices.ContainsFunc(l.feeds, ofSibling))
}

// debt returns how many times its tokens a bucket may be in debt.
func (l *Limiter) debt(r *rules) int {
	if r.gateways == 1 && l.indebted.Load() {
		return 1
	}
	return r.debt()
}

// plus returns the sum of o and more.
func (o open) plus(more open) open {
	return open{o.holds + more.holds, o.looks + more.looks, o.connections + more.connections, o.prelogin + more.prelogin}
}

// minus returns the difference of o and less.
func (o open) minus(less open) open {
	return open{o.holds - less.holds, o.looks - less.looks, o.connections - less.connections, o.prelogin - less.prelogin}
}

// openMax bounds each number of an open, so that those of all siblings can be added.
const openMax = 1 << 24

// opened counts o in e and in all that a sibling has open.
func (e *entry) opened(all map[key]open, o open) {
	o.holds = min(o.holds, openMax-min(e.holds, openMax))
	o.looks = min(o.looks, uint32(lookHoldsMax-e.lookHolds))
	o.connections = min(o.connections, openMax-min(e.open, openMax))
	o.prelogin = min(o.prelogin, openMax-min(e.prelogin, openMax))
	e.holds, e.lookHolds = e.holds+o.holds, e.lookHolds+uint16(o.looks)
	e.open, e.prelogin = e.open+o.connections, e.prelogin+o.prelogin
	setOpen(all, e.key, all[e.key].plus(o))
}

// closed is the reverse of opened. It ignores what the sibling does not have open, and reports whether it had anything.
func (e *entry) closed(all map[key]open, o open) bool {
	former := all[e.key]
	o = open{min(o.holds, former.holds), min(o.looks, former.looks), min(o.connections, former.connections), min(o.prelogin, former.prelogin)}
	e.holds, e.lookHolds = e.holds-o.holds, e.lookHolds-uint16(o.looks)
	e.open, e.prelogin = e.open-o.connections, e.prelogin-o.prelogin
	setOpen(all, e.key, former.minus(o))
	return o != open{}
}

// setOpen sets what is open in the entry of k.
func setOpen(all map[key]open, k key, o open) {
	if o == (open{}) {
		delete(all, k)
		return
	}
	all[k] = o
}

// Forget ends the given sibling at time t: what it had open no longer counts. What it has spent remains spent. Events of
// it that are applied later count again, so apply none.
func (l *Limiter) Forget(_ time.Time, sibling int) {
	l.cut.RLock()
	defer l.cut.RUnlock()
	l.siblings.mu.Lock()
	defer l.siblings.mu.Unlock()
	l.forget(sibling)
	l.setIndebted()
}

// forget is Forget while siblings are locked.
func (l *Limiter) forget(sibling int) {
	opened := l.siblings.of[sibling]
	for k, o := range opened {
		if e, mu := l.table.find(k); e != nil {
			e.closed(opened, o)
			mu.Unlock()
		}
	}
	delete(l.siblings.of, sibling)
}

// Retire gives back the memory of what l no longer needs once no attempt and no connection will begin: the known table,
// and all entries in which this process has nothing open. Siblings need not be applied any more. Attempts may still be
// settled and connections closed, and the feeds of l record that.
func (l *Limiter) Retire() {
	l.cut.Lock()
	defer l.cut.Unlock()
	l.siblings.mu.Lock()
	defer l.siblings.mu.Unlock()
	for sibling := range l.siblings.of {
		l.forget(sibling)
	}
	l.retired = true
	l.setIndebted()
	l.table.retire()
	l.known.retire()
	l.sprays.retire()
}

// retire drops all entries in which nothing is open.
func (tb *table) retire() {
	for i := range tb.shards {
		s := &tb.shards[i]
		s.mu.Lock()
		former := s.entries
		tb.used.Add(-int64(s.used))
		s.entries, s.used, s.nextSweep, s.count = nil, 0, 0, [kindCount]int{}
		s.own, s.rest, s.cleared = nil, ownCounts{}, nil
		for j := range former {
			if e := &former[j]; e.kind != kindNone && (e.holds > 0 || e.lookHolds > 0 || e.open > 0) {
				*s.add(e.key, e.kind) = *e
				tb.used.Add(1)
			}
		}
		s.mu.Unlock()
	}
}

// retire forgets all accounts.
func (n *knownTable) retire() {
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		n.count.Add(-int64(len(s.index)))
		s.index, s.blocks, s.free, s.denied = nil, nil, nil, nil
		s.mu.Unlock()
	}
	n.sources.mu.Lock()
	defer n.sources.mu.Unlock()
	n.sources.entries = nil
}

// retire forgets all passwords.
func (t *sprayTable) retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells = nil
}
