package watch

import "time"

// A coldStart is what is known of suspects before the first quarter-hour of the day comes round again: what the last
// hours brought.
type coldStart struct {
	mean  rates   // with a half-life of an hour
	most  float64 // the most logins that were no suspects, by that mean
	ticks int64
}

// coldTicks are the fewest it judges by: half an hour.
const coldTicks = 180

// add adds a tick with nothing amiss.
func (c *coldStart) add(r rates) {
	c.ticks++
	c.mean = c.mean.between(r, max(fading(time.Hour), 1/float64(c.ticks)))
	c.most = max(c.most, c.mean[ofLogins]-c.mean[ofSuspects])
}

// usual returns what is expected.
func (c *coldStart) usual() rates { return c.mean }

// alarming says whether the last minute was an attack by any measure: suspects are 40 % of the most logins an hour has had
// so far and one a second, and three times as many networks are behind them as usual. A tenth, which is enough later,
// would be of the logins of a busy hour; in the first night it is not known how many these are.
func (c *coldStart) alarming(r *recent) bool {
	m := r.meanOf(6)
	return c.ticks >= coldTicks && m[ofSuspects] > max(0.4*c.most, 10) && m[ofNetworks] > 3*max(c.mean[ofNetworks], 1)
}

// quiet says whether the last minute was far from one.
func (c *coldStart) quiet(r *recent) bool {
	m := r.meanOf(6)
	return m[ofNetworks] < alarmLeave*3*max(c.mean[ofNetworks], 1)
}
