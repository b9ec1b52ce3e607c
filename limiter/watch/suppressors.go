package watch

import (
	"math"
	"time"
)

// The thresholds for causes other than an attack.
const (
	faultShare  = 0.10 // of the attempts that backends were asked about in a minute failed
	faultLeast  = 5    // at least so many
	deniedShare = 0.25 // of the attempts of the known that were answered in a minute were denied
	deniedLeast = 8
	lostShare   = 0.20 // of the sessions were lost within a tick
	lostLeast   = 30
	surgeTimes  = 3.0 // as many attempts of the known as expected
	surgeLeast  = 20.0
	faultLasts  = 4 * time.Minute
	stormLasts  = 5 * time.Minute
)

// suppressors tell faults of our own servers and reconnecting clients from attacks. Each stays active for some minutes,
// because clients come back late.
type suppressors struct {
	backendFault time.Time // until when backends are at fault
	authFault    time.Time // until when the password database is at fault
	storm        time.Time // until when clients come back all at once
	open         int       // sessions
}

// tick takes the observation of the latest tick. e is what was expected, if knows is true.
func (p *suppressors) tick(t time.Time, r *recent, o observation, e rates, knows bool) {
	users, all := r.outcomes(6)
	if asked := all.Accepted + all.Denied + all.Fault; all.Fault >= faultLeast && exceeds(all.Fault, asked, faultShare) {
		p.backendFault = t.Add(faultLasts)
	}
	if users.Denied >= deniedLeast && exceeds(users.Denied, users.Accepted+users.Denied, deniedShare) {
		p.authFault = t.Add(faultLasts)
	}
	lost := o.closed - o.opened
	chance := 6 * math.Sqrt(float64(o.closed+o.opened))
	if lost >= lostLeast && exceeds(lost, p.open, lostShare) && float64(lost) > chance {
		p.storm = t.Add(stormLasts)
	}
	p.open = max(0, p.open+o.opened-o.closed)
	if m := r.meanOf(3)[ofKnown]; knows && m > max(surgeTimes*e[ofKnown], e[ofKnown]+surgeLeast) && users.Accepted > users.Fault {
		p.storm = t.Add(stormLasts)
	}
}

// exceeds reports whether part is more than this share of whole.
func exceeds(part, whole int, share float64) bool { return float64(part) > share*float64(whole) }

// amiss reports whether any suppressor is active at t.
func (p *suppressors) active(t time.Time) bool {
	return t.Before(p.backendFault) || t.Before(p.authFault) || t.Before(p.storm)
}

// excused returns how many suspects a tick are explained by a broken password database. While the known are denied,
// strangers with the right password are denied as well. The share of them is taken to be the same as of the known, and so
// is how often they retry.
func (p *suppressors) explained(r *recent, e rates) float64 {
	users, _ := r.outcomes(3)
	heard := users.Accepted + users.Denied
	if users.Denied < 3 || !exceeds(users.Denied, heard, deniedShare) {
		return 0
	}
	again := 1.0
	if e[ofKnown] > 0 {
		again = max(1, r.meanOf(3)[ofKnown]/e[ofKnown])
	}
	return 1.5 * e[ofAccepted] * again * float64(users.Denied) / float64(heard)
}
