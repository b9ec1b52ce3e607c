package limiter

import (
	"fmt"
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

// setIndebted sets whether buckets may go into debt. The caller holds l.cut or the lock of siblings.
func (l *Limiter) setIndebted() {
	l.indebted.Store(len(l.feeds) > 0 || len(l.siblings.of) > 0)
}

// Apply does to l at time t what the given sibling has done to its own limiter, as its [Feed] says. What the sibling has
// open counts like what this process has open. What it spends may take a bucket below zero, so that two processes that
// spend the same token at the same time wait for it later. If the events are damaged, it returns an error and changes
// nothing. The feeds of l do not record what Apply does.
func (l *Limiter) Apply(t time.Time, sibling int, events []byte) error {
	if err := eachEvent(events, func(*event) {}); err != nil {
		return fmt.Errorf("applying events of sibling %d: %w", sibling, err)
	}
	l.cut.RLock()
	defer l.cut.RUnlock()
	if l.retired {
		return nil
	}
	l.siblings.mu.Lock()
	defer l.siblings.mu.Unlock()
	a := application{Limiter: l, t: t, now: l.epoch.ticks(t), rules: l.rules.Load(), open: l.siblings.add(sibling)}
	l.indebted.Store(true)
	return eachEvent(events, a.apply)
}

// An application is one call of Apply.
type application struct {
	*Limiter
	t     time.Time
	now   ticks
	rules *rules
	open  map[key]open // of the sibling
}

// apply does what e says.
func (a *application) apply(e *event) {
	switch e.op {
	case opOpened, opLoggedIn, opClosed:
		a.applyConnection(e)
	case opHeld:
		a.change(e, func(own *entry) { own.opened(a.open, e.held()) })
	case opSettled:
		a.settle(e)
	case opSlot:
		a.change(e, func(own *entry) { own.chargeSlot(a.now, a.rules, e.first, int(e.growth)) })
	case opRepeat:
		a.change(e, func(own *entry) {
			own.denials = max(own.denials, bucket(a.now.add(e.first)))
			own.looks = max(own.looks, bucket(a.now.add(e.second)))
		})
	case opRepeated:
		a.change(e, func(own *entry) { own.repeatFor(a.now, e.first, e.flags&wasMatch != 0) })
	case opCleared:
		a.find(e, (*entry).clear)
	case opUsed:
		a.use(e)
	case opGlobal:
		a.globalQueue.spendOfSibling(a.now, a.rules)
	case opSprayed:
		a.sprays.apply(a.now, e.password, e.bit)
	default:
		a.applyKnown(e)
	}
}

// applyKnown does what e says of the known table.
func (a *application) applyKnown(e *event) {
	v, table := validityAt(a.t, a.rules.KnownTTL), a.rules.TableMax
	now := v.now
	v.now = v.now.earlier(e.hours)
	switch e.op {
	case opCredentialDenied:
		a.known.credentialDenied(e.account, e.known.credential, v.now)
	case opAccepted:
		a.known.learn(a.t, e.account, e.known, v, table)
	case opLearned:
		a.known.learnPast(e.account, e.known, v, table)
		a.known.extendPast(int64(e.hours))
	case opSince:
		a.known.lowerSince(max(min(int64(e.hours), a.t.Unix()/3600), 1))
	case opMerged:
		rd := reader{rest: e.record}
		account, known := readAccount(&rd, snapshotMagic, now, int64(v.now.since(now)))
		v.now = now
		a.known.merge(account, &known, v, table)
	}
}

// entry returns the entry of e and its lock, locked. If the table is full, it returns nil.
func (a *application) entry(e *event) (*entry, *sync.Mutex) {
	if e.key == (key{}) {
		return nil, nil
	}
	return a.table.findOrAdd(a.now, e.key, e.kind, a.rules.tableMax(e.kind, e.flags&isNear != 0, e.flags&hasSecrets != 0))
}

// change calls do with the entry of e, if there is one or the table has room.
func (a *application) change(e *event, do func(*entry)) {
	if own, mu := a.entry(e); own != nil {
		do(own)
		mu.Unlock()
	}
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

// find calls do with the entry of e, if there is one.
func (a *application) find(e *event, do func(*entry)) {
	if own, mu := a.table.find(e.key); own != nil {
		do(own)
		mu.Unlock()
	}
}

// applyConnection counts a connection of the sibling.
func (a *application) applyConnection(e *event) {
	connect := a.rules.connect.times(min(int(e.growth), maxConnectGrowth))
	before := open{prelogin: 1}
	if e.flags&wasLoggedIn != 0 {
		before = open{}
	}
	switch e.op {
	case opOpened:
		a.change(e, func(own *entry) {
			own.opened(a.open, open{connections: 1, prelogin: 1})
			if e.flags&spentDenial != 0 && !connect.off() {
				own.connects.spendWithDebt(a.now, &connect)
			}
		})
	case opLoggedIn:
		a.find(e, func(own *entry) {
			if own.closed(a.open, before) && own.kind == kindSource {
				own.connects.giveBack(&connect)
			}
		})
	case opClosed:
		before.connections = 1
		a.find(e, func(own *entry) { own.closed(a.open, before) })
	}
}

// settle spends or returns what the sibling holds.
func (a *application) settle(e *event) {
	do := func(own *entry) {
		own.closed(a.open, e.held())
		own.settle(a.now, a.rules, e.flags, int(e.growth), true)
	}
	if e.flags&(spentDenial|spentLook|wasDenied|wasStarved) == 0 {
		a.find(e, do)
		return
	}
	a.change(e, do)
}

// held returns the hold of e.
func (e *event) held() (o open) {
	if e.flags&heldDenial != 0 {
		o.holds = 1
	}
	if e.flags&heldLook != 0 {
		o.looks = 1
	}
	return o
}

// use counts a login of the sibling in the usage of its account, and of its source or device there.
func (a *application) use(e *event) {
	if e.flags&spentDenial != 0 {
		a.change(e, func(own *entry) { own.denials.spend(a.now, &a.rules.pairUse) })
	}
	if e.flags&wasCounted != 0 {
		a.known.countLoginOfSibling(a.now, e.account, &a.rules.accountUse, e.flags&spentUse != 0)
	}
}

// plus returns the sum of o and more.
func (o open) plus(more open) open {
	return open{o.holds + more.holds, o.looks + more.looks, o.connections + more.connections, o.prelogin + more.prelogin}
}

// minus returns the difference of o and less.
func (o open) minus(less open) open {
	return open{o.holds - less.holds, o.looks - less.looks, o.connections - less.connections, o.prelogin - less.prelogin}
}

// Forget ends the given sibling at time t: what it had open no longer counts. What it has spent remains spent.
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
		s.index, s.blocks, s.free = nil, nil, nil
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
