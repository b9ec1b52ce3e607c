package limiter

import (
	"fmt"
	"sync"
	"time"
)

// Apply does to l at time t what the given sibling has done to its own limiter, as its [Feed] says. What the sibling has
// open counts like what this process has open. What it spends may take a bucket below zero, so that two processes that
// spend the same token at the same time wait for it later. If the events are damaged, it returns an error and changes
// nothing. Of the feeds of l, only those for gateways record what Apply does.
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
	a.debt = l.debt(a.rules)
	return eachEvent(events, func(e *event) {
		a.apply(e)
		if l.wants(e.op) {
			l.publishTo(e, true)
		}
	})
}

// An application is one call of Apply or ApplyShared. It may be at an earlier time than what was done before.
type application struct {
	*Limiter
	t     time.Time
	now   ticks
	rules *rules
	debt  int          // how many times its tokens a bucket may be in debt
	open  map[key]open // of the sibling; nil for a gateway
}

// ofGateway reports whether another gateway has done it, and not another process of this one.
func (a *application) ofGateway() bool {
	return a.open == nil
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
		a.change(e, func(own *entry) {
			if !a.ofGateway() {
				a.countOwnSlot(a.now, a.rules, own, e.first, e.flags, int(e.growth), a.divides(e))
			}
			own.chargeSlot(a.now, a.rules, e.first, e.flags, int(e.growth))
		})
	case opCharged:
		a.change(e, func(own *entry) {
			if a.rules.gateways > 1 && own.kind == kindRepeat && own.isClearedAfter(a.now) {
				return
			}
			own.denials = max(own.denials, bucket(a.now.add(e.first)))
			own.looks = max(own.looks, bucket(a.now.add(e.second)))
		})
	case opRepeated:
		a.change(e, func(own *entry) { a.repeat(e, own) })
	case opCleared:
		if !a.find(e, func(own *entry) { a.clear(a.now, a.rules, own) }) {
			a.noteClear(a.now, a.rules, e.key, e.kind)
		}
	case opReleased:
		a.find(e, func(own *entry) { a.releaseEntry(a.now, own) })
	case opForgotten:
		a.known.noteDenied(a.now, e.account, 0)
		a.known.forget(e.account)
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
	if a.rules.KnownTTL == 0 {
		return
	}
	v, table := validityAt(a.t, a.rules.KnownTTL), a.rules.TableMax
	now := v.now
	v.now = v.now.earlier(e.hours)
	switch e.op {
	case opCredentialDenied:
		a.known.noteDenied(a.now, e.account, e.known.credential)
		a.known.credentialDenied(e.account, e.known.credential, v.now)
	case opAccepted:
		a.accepted(e, v)
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

// repeat makes own a repeat, unless it is one for longer or was cleared since.
func (a *application) repeat(e *event, own *entry) {
	d := min(e.first, a.rules.RepeatTTL)
	cleared := a.rules.gateways > 1 && own.isClearedAfter(a.now)
	if own.kind == kindRepeat && !cleared && bucket(a.now.add(d)) > own.connects {
		own.repeatFor(a.now, d, e.flags&wasMatch != 0)
	}
}

// accepted records an accepted login. One at another gateway may be earlier than what is known already. It counts in the
// usage of the account: a gateway reports it once an hour, and from each new place, so users hardly notice; a stolen account
// that is used for the first time would otherwise go before users once at each gateway.
func (a *application) accepted(e *event, v validity) {
	tenth := a.rules.tenthOf(a.t, v.now)
	if !a.ofGateway() {
		a.known.learn(a.t, e.account, e.known, v, tenth, a.rules.TableMax)
		return
	}
	if a.known.wasDeniedSince(a.now, e.account, 0) {
		return
	}
	f := e.known
	if a.known.wasDeniedSince(a.now, e.account, f.credential) {
		f.credential = 0
	}
	a.known.countLoginElsewhere(a.now, e.account, &a.rules.accountUse, false)
	a.known.learnLate(e.account, f, v, tenth, a.rules.TableMax)
	a.known.lowerSince(max(min(int64(e.hours), a.t.Unix()/3600), 1))
}

// divides reports whether what e spends is charged to the part of this gateway of a bucket.
func (a *application) divides(e *event) bool {
	return a.rules.alone && e.flags&(isNear|onlyDelays) == 0
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

// find calls do with the entry of e, if there is one, and reports whether there is.
func (a *application) find(e *event, do func(*entry)) bool {
	own, mu := a.table.find(e.key)
	if own == nil {
		return false
	}
	do(own)
	mu.Unlock()
	return true
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
				own.connects.spendFor(a.now, &connect, connect.token, 1)
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
		if !a.ofGateway() {
			own.closed(a.open, e.held())
			a.countOwn(a.now, a.rules, own, e.flags, int(e.growth), a.divides(e))
		}
		own.settle(a.now, a.rules, e.flags, int(e.growth), a.debt)
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

// use counts a login of the sibling in the usage of its account, and of its source or device there, or in that of an
// allowed network.
func (a *application) use(e *event) {
	limit := &a.rules.pairUse
	if e.flags&ofAllowed != 0 {
		limit = &a.rules.allowedUse
	}
	if e.flags&spentDenial != 0 {
		a.change(e, func(own *entry) { own.denials.spend(a.now, limit) })
	}
	if e.flags&wasCounted != 0 {
		a.known.countLoginElsewhere(a.now, e.account, &a.rules.accountUse, e.flags&spentUse != 0)
	}
}
