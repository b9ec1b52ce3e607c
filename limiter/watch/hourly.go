package watch

import "time"

// hourly are the findings of the detectors that count by the hour: of account abuse and of slow sprays.
type hourly struct {
	accountAbuse bool
	slowSpray    bool
	abused       int // accounts
}

// countHourly counts an attempt for these detectors.
func (w *Watch) countHourly(t time.Time, a *hashedAttempt) {
	switch {
	case a.Outcome == Accepted && a.Account != "":
		if u := w.habits.accept(t, a.accountHash, !a.Usual); u.abused {
			w.hours.abused.add(t, a, u)
			if w.own != nil {
				w.own.abuse(t, a, u)
			}
		}
	case a.slow():
		w.spray.attempt(t, a.networkHash)
		if w.own != nil {
			w.own.slowly(a.Network)
		}
	}
}

// evaluateHourly ends the tick that ended at t for these detectors. An attack or a failing password database explains the
// denials of a slow spray, and there is none while only a part of the site is seen; an attack also ends its alarm, so that one cause is not reported twice.
func (w *Watch) evaluateHourly(t time.Time) (f hourly) {
	d := w.detector
	explained := d.attack.on || t.Before(d.suppressors.authFault) || d.part != 1
	f.slowSpray = w.spray.tick(t.In(w.location), d.busy, explained)
	if d.attack.on {
		w.spray.cancel()
		f.slowSpray = false
	}
	f.accountAbuse, f.abused = w.habits.tick(t)
	if w.own != nil {
		w.own.abuseAlarm, w.own.abused = f.accountAbuse, f.abused
	}
	return w.site.abuse(t, f)
}
