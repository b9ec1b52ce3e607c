package watch

import (
	"math"
	"time"
)

// The thresholds of causes other than an attack.
const (
	faultShare  = 0.10 // of the attempts in a minute that a backend was asked about failed
	faultLeast  = 5    // at least this many
	deniedShare = 0.25 // of the answered attempts of the known in a minute were denied
	deniedLeast = 8
	lostShare   = 0.20 // of the sessions were lost in a tick
	lostLeast   = 30
	surgeTimes  = 3.0 // times the expected attempts of the known
	surgeLeast  = 20.0
	faultLasts  = 4 * time.Minute
	stormLasts  = 5 * time.Minute
)

// suppressors detect faults of our own servers and reconnecting clients, so that these are not taken for attacks. Each
// remains active for some minutes, because clients reconnect late.
type suppressors struct {
	backendFault time.Time // active until: backends fail
	authFault    time.Time // active until: the password database fails
	storm        time.Time // active until: clients reconnect
	open         int       // sessions
}

// tick evaluates the observation of a tick. e are the expected rates, if ready is true.
func (p *suppressors) tick(t time.Time, r *recent, o observation, e rates, ready bool) {
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
	if m := r.meanOf(3)[ofKnown]; ready && m > max(surgeTimes*e[ofKnown], e[ofKnown]+surgeLeast) && users.Accepted > users.Fault {
		p.storm = t.Add(stormLasts)
	}
}

// exceeds reports whether part is more than this share of whole.
func exceeds(part, whole int, share float64) bool { return float64(part) > share*float64(whole) }

// active reports whether any suppressor is active at t.
func (p *suppressors) active(t time.Time) bool {
	return t.Before(p.backendFault) || t.Before(p.authFault) || t.Before(p.storm)
}

// explained returns how many suspects a tick are explained by a failing password database. While it fails, strangers with
// the right password are denied as well. It is assumed that their share is the same as of the known, and that they retry
// as often.
func (p *suppressors) explained(r *recent, e rates) float64 {
	users, _ := r.outcomes(3)
	answered := users.Accepted + users.Denied
	if users.Denied < 3 || !exceeds(users.Denied, answered, deniedShare) {
		return 0
	}
	retries := 1.0
	if e[ofKnown] > 0 {
		retries = max(1, r.meanOf(3)[ofKnown]/e[ofKnown])
	}
	return 1.5 * e[ofAccepted] * retries * float64(users.Denied) / float64(answered)
}
