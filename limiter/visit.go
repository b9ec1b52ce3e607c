package limiter

import (
	"net/netip"
	"sync"
	"time"
)

// A Visit is one open connection. Whoever asked for it must call Leave once the connection has ended. It is safe for
// concurrent use.
type Connection struct {
	limiter *Limiter
	counted bool // in the entry of key; not for an exempt address
	key     key

	mu       sync.Mutex
	loggedIn bool
	left     bool
}

// Connect asks whether a new connection from addr, which arrived at time t, may stay. The verdict is pass or refuse, and
// the Visit is nil exactly when it is refuse. A refused connection counts nowhere. Exempt addresses pass; so do sources
// for which the table has no room, for a network's many customers must not be refused as if they were one.
func (l *Limiter) Connect(t time.Time, addr netip.Addr) (*Connection, Verdict) {
	now, r := l.origin.ticks(t), l.rules.Load()
	if r.exempts(addr) {
		return &Connection{limiter: l}, pass
	}
	e, mu := l.table.take(now, l.hasher.block(ofSource, Source(addr)), ofSource, r.TableMax)
	if e != nil {
		if rule := e.crowded(now, r); rule != RuleNone {
			mu.Unlock()
			return nil, refusal(rule)
		}
		if !r.connect.off() {
			e.connects.spend(now, &r.connect)
		}
	} else {
		e, mu = l.network(now, Network(addr), r)
	}
	defer mu.Unlock()
	e.open++
	e.prelogin++
	return &Connection{limiter: l, counted: true, key: e.key}, pass
}

// network returns the entry of block, or the one of all networks that found no room, and its lock, locked.
func (l *Limiter) network(now ticks, block netip.Prefix, r *rules) (*entry, *sync.Mutex) {
	e, mu := l.table.take(now, l.hasher.block(ofNetwork, block), ofNetwork, r.TableMax)
	if e == nil {
		return l.table.overflow(block.Addr())
	}
	return e, mu
}

// crowded returns the rule that keeps another connection of source e out.
func (e *entry) crowded(now ticks, r *rules) Rule {
	switch {
	case !r.connect.off() && e.connects.spent(now, &r.connect) >= r.connect.tokens:
		return RuleConnect
	case r.Open > 0 && int(e.open) >= r.Open:
		return RuleOpen
	case r.OpenPrelogin > 0 && int(e.prelogin) >= r.OpenPrelogin:
		return RuleOpenPrelogin
	}
	return RuleNone
}

// LoggedIn says that the visit ceased to be one before login. Saying so again does nothing.
func (v *Connection) LoggedIn(time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loggedIn && !v.left {
		v.change(func(e *entry) { e.prelogin-- })
	}
	v.loggedIn = true
}

// Leave says that the visit ended. Leaving again does nothing.
func (v *Connection) Close(time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left {
		return
	}
	v.left = true
	v.change(func(e *entry) {
		e.open--
		if !v.loggedIn {
			e.prelogin--
		}
	})
}

// change changes the entry that v is counted in.
func (v *Connection) change(what func(*entry)) {
	if !v.counted {
		return
	}
	e, mu := v.limiter.table.find(v.key)
	defer mu.Unlock()
	what(e)
}
