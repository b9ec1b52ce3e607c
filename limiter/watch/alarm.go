package watch

import "time"

// When alarms are raised and lowered.
const (
	alarmHold  = 3                // ticks that the condition must hold
	alarmLeave = 0.6              // below this share of the limit it is quiet
	alarmQuiet = 30 * time.Minute // how long it must be quiet
)

// An alarm is raised when its condition has held for 30 s, and lowered after half an hour of quiet.
type alarm struct {
	limit  float64
	held   int
	on     bool
	active time.Time // when it was last not quiet
}

// update updates the alarm with the excess m at t. sure says whether the excess is significant.
func (a *alarm) update(t time.Time, m float64, sure bool) {
	a.set(t, sure && m >= a.limit, m < alarmLeave*a.limit)
}

// set updates the alarm at t: raise says whether the condition holds, quiet whether it is quiet.
func (a *alarm) set(t time.Time, raise, quiet bool) {
	if !raise {
		a.held = 0
	} else if a.held++; a.held >= alarmHold {
		a.on = true
	}
	if raise || !quiet {
		a.active = t
	}
	if a.on && t.Sub(a.active) >= alarmQuiet {
		a.on = false
	}
}
