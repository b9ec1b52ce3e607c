package watch

import "time"

// When there is an attack on the first day.
const (
	coldTicks     = 180  // half an hour: from then on, suspects are compared with those before
	coldAt        = 0.15 // excess, as a share of what a busy hour is assumed to have
	grossTicks    = 12   // two minutes
	grossTimes    = 2.5  // as many guesses as accepted attempts
	grossLeast    = 30.0 // guesses
	grossNetworks = 20.0
)

// A coldStart is used on the first day, while the baseline has no entry for the same time of day. It keeps the means of
// the last hours.
type coldStart struct {
	mean  rates   // with a half-life of an hour
	most  float64 // the greatest mean of logins without suspects
	ticks int64
}

// add adds a tick that may be learned.
func (c *coldStart) add(r rates) {
	c.ticks++
	c.mean = c.mean.between(r, max(fading(time.Hour), 1/float64(c.ticks)))
	c.most = max(c.most, c.mean[ofLogins]-c.mean[ofSuspects])
}

// usual returns the mean.
func (c *coldStart) usual() rates { return c.mean }

// complete reports whether there is a mean to compare with.
func (c *coldStart) complete() bool { return c.ticks >= coldTicks }

// busy returns the logins of a tick in a busy hour, as far as they can be known at t, local time: the most so far, or
// those accepted now, divided by the least share of a busy hour that is common at this time of day. part is the share of
// what was learned that is seen now.
func (c *coldStart) busy(t time.Time, r *recent, part float64) float64 {
	return max(c.most*part, r.accepted(recentTicks)/commonShare(t.Hour()), busyFloor)
}

// commonShare returns the logins in an hour of the day, as a share of those in a busy hour, for a site about which nothing
// is known.
func commonShare(hour int) float64 {
	switch {
	case hour < 6:
		return 0.15
	case hour < 8 || hour >= 20:
		return 0.4
	}
	return 0.8
}

// alarming reports whether suspects in the last minute are above 40 % of the most logins an hour has had so far and above
// one a second, and come from three times as many networks as usual.
func (c *coldStart) alarming(r *recent) bool {
	m := r.meanOf(6)
	return c.complete() && m[ofSuspects] > max(0.4*c.most, 10) && m[ofNetworks] > 3*max(c.mean[ofNetworks], 1)
}

// gross reports whether the last two minutes were an attack by any measure, at a site about which nothing is known: there
// were at least two and a half times as many new guesses as accepted attempts, from many networks. If nothing at all is
// accepted, the password database is more likely to be at fault.
func (c *coldStart) gross(r *recent) bool {
	guesses, accepted := r.meanOf(grossTicks)[ofSuspects], r.accepted(grossTicks)
	return r.n >= grossTicks && guesses*grossTicks >= grossLeast && accepted > 0 &&
		guesses >= max(grossTimes*accepted, 1.5*c.mean[ofSuspects]) && r.networks(grossTicks) >= grossNetworks
}

// nothingAccepted reports whether in the last five minutes many attempts were denied, from many networks, and none was
// accepted. At a site about which nothing is known, that is how a password database fails that denies everybody.
func (c *coldStart) nothingAccepted(r *recent) bool {
	_, all := r.outcomes(recentTicks)
	return r.n >= recentTicks && all.Accepted == 0 && float64(all.Denied) >= grossLeast && r.networks(recentTicks) >= grossNetworks
}

// ended reports whether the last minutes were far from all that.
func (c *coldStart) ended(r *recent) bool {
	if r.meanOf(6)[ofNetworks] >= alarmLeave*3*max(c.mean[ofNetworks], 1) {
		return false
	}
	guesses := r.meanOf(grossTicks)[ofSuspects]
	return guesses*grossTicks < grossLeast || guesses < alarmLeave*max(grossTimes*r.accepted(grossTicks), 1.5*c.mean[ofSuspects])
}
