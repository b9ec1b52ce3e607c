package watch

import "time"

// How alarms are raised and lowered.
const (
	alarmHold  = 3                // ticks that it must hold to be raised
	alarmLeave = 0.6              // of the limit, below which it is quiet
	alarmQuiet = 30 * time.Minute // that it must be quiet to be lowered
)

// An alarm is raised at once and lowered late.
type alarm struct {
	limit float64
	held  int
	on    bool
	loud  time.Time // when it was last not quiet
}

// judge takes the excess m at t, and whether it is significant.
func (a *alarm) judge(t time.Time, m float64, sure bool) {
	a.set(t, sure && m >= a.limit, m < alarmLeave*a.limit)
}

// set takes whether the alarm should be raised, and whether all is quiet.
func (a *alarm) set(t time.Time, raise, quiet bool) {
	if !raise {
		a.held = 0
	} else if a.held++; a.held >= alarmHold {
		a.on = true
	}
	if raise || !quiet {
		a.loud = t
	}
	if a.on && t.Sub(a.loud) >= alarmQuiet {
		a.on = false
	}
}
