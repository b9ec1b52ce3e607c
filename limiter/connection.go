package limiter

import (
	"net/netip"
	"sync"
	"time"
)

// A Connection is one open connection, counted against its source. The goroutine that called [Limiter.Connect] must
// call Close when the connection has ended. It is safe for concurrent use.
type Connection struct {
	limiter *Limiter
	counted bool   // in the entry of key; false for an exempt address
	kind    kind   // of that entry
	growth  uint16 // how many times the limit connect is that of one source
	key     key
	connect limit // under which the source has spent a token

	mu       sync.Mutex
	loggedIn bool
	closed   bool
}

// Connect asks whether a new connection from addr, which arrived at time t, is allowed. The verdict is pass or refuse,
// and the Connection is nil exactly when it is refuse. A refused connection is not counted. Blocked addresses are
// refused. Exempt addresses pass; so do sources for which the table is full, because the many customers of a network must
// not be refused as if they were one. The limits grow as [Limiter.Growth] says.
func (l *Limiter) Connect(t time.Time, addr netip.Addr) (*Connection, Verdict) {
	now, r := l.epoch.ticks(t), l.rules.Load()
	blocked, allowed := l.lists.Load().lookup(addr)
	switch {
	case blocked:
		return nil, refusal(RuleBlocked)
	case r.exempts(addr):
		return &Connection{limiter: l}, pass
	}
	source := l.hasher.block(kindSource, Source(addr))
	growth := l.growth(source, allowed.IsValid(), hourOf(t))
	connect := r.connect.times(min(growth, maxConnectGrowth))
	l.cut.RLock()
	defer l.cut.RUnlock()
	e, mu := l.table.findOrAdd(now, source, kindSource, r.TableMax)
	flags := eventFlags(0)
	if e != nil {
		if rule := e.overLimit(now, r, &connect, min(growth, maxOpenGrowth)); rule != RuleNone {
			mu.Unlock()
			return nil, refusal(rule)
		}
		if !connect.off() {
			e.connects.spend(now, &connect)
			flags = spentDenial
		}
	} else {
		network := Network(addr)
		e, mu = l.networkEntry(now, l.hasher.block(kindNetwork, network), network, r)
	}
	defer mu.Unlock()
	e.open++
	e.prelogin++
	c := &Connection{limiter: l, counted: true, kind: e.kind, growth: uint16(growth), key: e.key, connect: connect}
	c.publish(opOpened, flags)
	return c, pass
}

// networkEntry returns the entry of key for the network block, or the shared one if the table is full, and its lock, locked.
func (l *Limiter) networkEntry(now ticks, key key, block netip.Prefix, r *rules) (*entry, *sync.Mutex) {
	e, mu := l.table.findOrAdd(now, key, kindNetwork, r.TableMax)
	if e == nil {
		return l.table.findSharedByFamily(block.Addr())
	}
	return e, mu
}

// overLimit returns the rule that refuses another connection of the source e, or RuleNone. The numbers of open
// connections may be as many times those of a source as growth says.
func (e *entry) overLimit(now ticks, r *rules, connect *limit, growth int) Rule {
	switch {
	case !connect.off() && e.connects.spent(now, connect) >= connect.tokens:
		return RuleConnect
	case r.Open > 0 && int(e.open) >= r.Open*growth:
		return RuleOpen
	case r.OpenPrelogin > 0 && int(e.prelogin) >= r.OpenPrelogin*growth:
		return RuleOpenPrelogin
	}
	return RuleNone
}

// LoggedIn records that the connection has logged in, which gives its source the token for the connection back. Calling
// it again does nothing.
func (c *Connection) LoggedIn(time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.loggedIn && !c.closed {
		c.update(opLoggedIn, func(e *entry) {
			e.prelogin--
			if e.kind == kindSource {
				e.connects.giveBack(&c.connect)
			}
		})
	}
	c.loggedIn = true
}

// Close records that the connection has ended. Calling it again does nothing.
func (c *Connection) Close(time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.update(opClosed, func(e *entry) {
		e.open--
		if !c.loggedIn {
			e.prelogin--
		}
	})
}

// update calls f with the entry that c is counted in, if there is one, and publishes that as o.
func (c *Connection) update(o op, f func(*entry)) {
	if !c.counted {
		return
	}
	c.limiter.cut.RLock()
	defer c.limiter.cut.RUnlock()
	e, mu := c.limiter.table.find(c.key)
	f(e)
	mu.Unlock()
	flags := eventFlags(0)
	if c.loggedIn {
		flags = wasLoggedIn
	}
	c.publish(o, flags)
}

// publish publishes what has happened to c.
func (c *Connection) publish(o op, flags eventFlags) {
	if l := c.limiter; l.wants(o) {
		l.publish(&event{op: o, kind: c.kind, key: c.key, growth: c.growth, flags: flags})
	}
}

// KnownSource reports whether a login from the source of addr, on any account, was accepted within KnownTTL before t,
// or addr is exempt or allowed. That does not make an attempt known; it helps to choose which connection to close when
// there are too many.
func (l *Limiter) KnownSource(t time.Time, addr netip.Addr) bool {
	r := l.rules.Load()
	f := blockFingerprint(l.hasher.block(kindSource, Source(addr)))
	if l.known.sources.has(f, validityAt(t, r.KnownTTL)) || r.exempts(addr) {
		return true
	}
	_, allowed := l.lists.Load().lookup(addr)
	return allowed.IsValid()
}

// Growth returns how many times the limits of one source apply to that of addr at time t: 1, or as many as accounts were
// accepted there in the last one to two and a half days, at most 256. An office or a carrier is many people. It is 256 for
// an allowed address.
func (l *Limiter) Growth(t time.Time, addr netip.Addr) int {
	_, allowed := l.lists.Load().lookup(addr)
	return l.growth(l.hasher.block(kindSource, Source(addr)), allowed.IsValid(), hourOf(t))
}

// growth is Growth for the source with key k, which may be allowed. Without any limit on its connections, one client in
// an allowed network could have those of everybody else closed.
func (l *Limiter) growth(k key, allowed bool, now hour) int {
	if allowed {
		return maxGrowth
	}
	return l.known.sources.growth(blockFingerprint(k), now)
}
