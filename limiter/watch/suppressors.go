package watch

import (
	"math"
	"time"
)

// The thresholds of causes other than an attack.
const (
	faultShare  = 0.10 // of the attempts in a minute that a backend was asked about failed
	faultLeast  = 5    // at least this many
	deniedShare = 0.25 // of the answered attempts of the known in a minute were denied, where credentials are not known yet
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
	deniedShare  float64   // of the proven credentials, or of the known
}

// tick evaluates the observation of a tick. e are the expected rates, if ready is true.
func (p *suppressors) tick(t time.Time, r *recent, o observation, e rates, ready bool) {
	users, all := r.outcomes(6)
	if asked := all.Accepted + all.Denied + all.Fault; all.Fault >= faultLeast && exceeds(all.Fault, asked, faultShare) {
		p.backendFault = t.Add(faultLasts)
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

// denials evaluates the denials of a tick: of proven credentials, and of the known whose credentials are not known yet.
// share and fault are those of the proven.
func (p *suppressors) denials(t time.Time, r *recent, share float64, fault bool) {
	users, _ := r.outcomes(6)
	denied := r.deniedKnown(6)
	if denied >= deniedLeast && exceeds(denied, users.Accepted+denied, deniedShare) {
		share, fault = max(share, float64(denied)/float64(users.Accepted+denied)), true
	}
	p.deniedShare = share
	if fault {
		p.authFault = t.Add(faultLasts)
	}
}

// retriesMost is the most times the expected attempts that are taken for retries of users.
const retriesMost = 30

// retries returns how many times as many attempts as expected the known make now.
func retries(r *recent, e rates) float64 {
	if e[ofKnown] <= 0 {
		return 1
	}
	return min(max(1, r.meanOf(3)[ofKnown]/e[ofKnown], r.meanOf(1)[ofKnown]/e[ofKnown]), retriesMost)
}

// newDenied is the share of users who are strangers that have a wrong password stored, at most.
const newDenied = 0.15

// explained returns how many guesses a tick are explained by other trouble at t. While the password database fails,
// strangers with the right password are denied as well, also those whose password is not known here. It is assumed that
// their share is the same as of the known, and that they retry as often. When all clients reconnect, so do those of
// strangers with a wrong password.
func (p *suppressors) explained(t time.Time, r *recent, e rates) float64 {
	share := 0.0
	if t.Before(p.authFault) {
		share = 1.5 * p.deniedShare
	}
	if t.Before(p.storm) {
		share = max(share, newDenied)
	}
	if share == 0 {
		return 0
	}
	return share * e[ofAccepted] * retries(r, e)
}

// unanswered returns how many attempts and connections a tick may end without an answer for harmless reasons: users who are
// strangers, as often as the known retry, and twice the known who are missing because something between them and the
// backends fails.
func (p *suppressors) unanswered(r *recent, e rates) float64 {
	known, _ := r.outcomes(3)
	served := float64(known.Accepted+known.Denied+known.Repeat) / float64(max(1, min(3, r.n)))
	return 1.5*e[ofAccepted]*retries(r, e) + 2*max(0, 0.8*e[ofKnown]-served)
}
