package watch

import "time"

// others are the findings of the detectors that do not use the rates of a tick.
type others struct {
	accountAbuse bool
	slowSpray    bool
	abused       int // accounts
}

// accounts adds an attempt to the detectors of account abuse and of slow sprays.
func (w *Watch) accounts(t time.Time, a *Attempt) {
	switch {
	case a.Outcome == Accepted && a.Account != "":
		name := folded(a.Account)
		account := w.hours.hash(name)
		if u := w.habits.accept(t, account, !a.Usual); u.abused {
			w.hours.abused.add(t, u, name, account, w.hours.hashPrefix(a.Network))
		}
	case a.slow():
		w.spray.attempt(t, w.hours.hashPrefix(a.Network))
	}
}

// evaluateOthers ends the tick that ended at t for these detectors. An attack or a failing password database explains the
// denials of a slow spray; an attack also ends its alarm, so that one cause is not reported twice.
func (w *Watch) evaluateOthers(t time.Time) (o others) {
	d := w.detector
	explained := d.attack.on || t.Before(d.suppressors.authFault)
	o.slowSpray = w.spray.tick(t.In(w.location), d.busy, explained)
	if d.attack.on {
		w.spray.cancel()
		o.slowSpray = false
	}
	o.accountAbuse, o.abused = w.habits.tick(t)
	return o
}
