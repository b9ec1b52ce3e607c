package limiter

import (
	"net/netip"
	"time"
)

// A Visit is one open connection. Whoever asked for it must call Leave once the connection has ended. It is safe for
// concurrent use.
type Visit struct {
	limiter  *Limiter
	entry    *entry // nil for an exempt address, and after Leave
	loggedIn bool
}

// Connect asks whether a new connection from addr, which arrived at time t, may stay. The verdict is pass or refuse, and
// the Visit is nil exactly when it is refuse. A refused connection counts nowhere. Exempt addresses pass; so do sources
// for which the table has no room, for a network's many customers must not be refused as if they were one.
func (l *Limiter) Connect(t time.Time, addr netip.Addr) (*Visit, Verdict) {
	t = l.lock(t)
	defer l.mu.Unlock()
	if l.policy.exempts(addr) {
		return &Visit{limiter: l}, pass
	}
	e := l.entry(t, ofSource, addr)
	if e == nil {
		return l.visit(l.entry(t, ofNetwork, addr)), pass
	}
	if r := e.crowded(t, &l.policy); r != RuleNone {
		return nil, refusal(r)
	}
	e.connects.spend(t, l.policy.Connect)
	return l.visit(e), pass
}

// visit counts a new visit in e. It requires l.mu.
func (l *Limiter) visit(e *entry) *Visit {
	e.open++
	e.prelogin++
	return &Visit{limiter: l, entry: e}
}

// crowded returns the rule that keeps another connection of source e out at t.
func (e *entry) crowded(t time.Time, p *Policy) Rule {
	switch {
	case e.connects.empty(t, p.Connect):
		return RuleConnect
	case p.Open > 0 && e.open >= p.Open:
		return RuleOpen
	case p.OpenPrelogin > 0 && e.prelogin >= p.OpenPrelogin:
		return RuleOpenPrelogin
	}
	return RuleNone
}

// LoggedIn says that at time t the visit ceased to be one before login. Saying so again does nothing.
func (v *Visit) LoggedIn(t time.Time) {
	v.limiter.lock(t)
	defer v.limiter.mu.Unlock()
	if v.entry != nil && !v.loggedIn {
		v.entry.prelogin--
	}
	v.loggedIn = true
}

// Leave says that the visit ended at time t. Leaving again does nothing.
func (v *Visit) Leave(t time.Time) {
	v.limiter.lock(t)
	defer v.limiter.mu.Unlock()
	if v.entry == nil {
		return
	}
	v.entry.open--
	if !v.loggedIn {
		v.entry.prelogin--
	}
	v.entry = nil
}

// Belongs reports whether another connection of this visit's source is logged in right now. It helps to choose who must
// go when there are too many. Exempt visits always belong, those whose source has no entry of its own never.
func (v *Visit) Belongs() bool {
	v.limiter.mu.Lock()
	defer v.limiter.mu.Unlock()
	if v.entry == nil {
		return true
	}
	others := v.entry.open - v.entry.prelogin
	if v.loggedIn {
		others--
	}
	return v.entry.key.kind == ofSource && others > 0
}
