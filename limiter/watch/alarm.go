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

// A coldStart is used on the first day, while the baseline has no entry for the same time of day. It keeps the means of
// the last hours.
type coldStart struct {
	mean  rates   // with a half-life of an hour
	most  float64 // the greatest mean of logins without suspects
	ticks int64
}

// coldTicks is how many ticks it needs before it can raise an alarm: half an hour.
const coldTicks = 180

// add adds a tick that may be learned.
func (c *coldStart) add(r rates) {
	c.ticks++
	c.mean = c.mean.between(r, max(fading(time.Hour), 1/float64(c.ticks)))
	c.most = max(c.most, c.mean[ofLogins]-c.mean[ofSuspects])
}

// usual returns the mean.
func (c *coldStart) usual() rates { return c.mean }

// alarming reports whether the last minute was an attack by any measure: suspects are above 40 % of the most logins an
// hour has had so far and above one a second, and come from three times as many networks as usual. The usual limit, 10 % of
// a busy hour, cannot be used here: on the first day the logins of a busy hour are not known.
func (c *coldStart) alarming(r *recent) bool {
	m := r.meanOf(6)
	return c.ticks >= coldTicks && m[ofSuspects] > max(0.4*c.most, 10) && m[ofNetworks] > 3*max(c.mean[ofNetworks], 1)
}

// quiet reports whether the last minute was far from that.
func (c *coldStart) quiet(r *recent) bool {
	m := r.meanOf(6)
	return m[ofNetworks] < alarmLeave*3*max(c.mean[ofNetworks], 1)
}
