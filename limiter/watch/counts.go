package watch

import "net/netip"

// tickNetworks is the most networks counted in one tick. More than that is an attack anyway.
const tickNetworks = 1 << 16

// counts are the counts of one tick.
type counts struct {
	known    Outcomes
	stranger Outcomes
	users    Users
	waited   int // attempts of strangers that had to wait
	opened   int // sessions
	closed   int

	networks map[netip.Prefix]int // suspects from each
	beyond   int                  // suspects from networks beyond tickNetworks
}

func newCounts() counts {
	return counts{networks: map[netip.Prefix]int{}}
}

// reset begins a new tick.
func (c *counts) reset() {
	clear(c.networks)
	*c = counts{networks: c.networks}
}

// attempt counts one attempt.
func (c *counts) attempt(a *Attempt) {
	if a.Known {
		c.known.count(a.Outcome)
		c.users.count(a)
		return
	}
	c.stranger.count(a.Outcome)
	if a.Waited > 0 {
		c.waited++
	}
	if !a.suspect() {
		return
	}
	if _, there := c.networks[a.Network]; there || len(c.networks) < tickNetworks {
		c.networks[a.Network]++
	} else {
		c.beyond++
	}
}

// observation sums up the tick. A network counts for at most networkCap suspects.
func (c *counts) observation(networkCap float64) observation {
	o := observation{
		known: c.known, stranger: c.stranger, checked: c.waited + c.stranger.Refused(), opened: c.opened, closed: c.closed,
	}
	capped := float64(c.beyond)
	o.raw = capped
	for _, n := range c.networks {
		o.raw += float64(n)
		capped += min(float64(n), networkCap)
	}
	o.rates = rates{
		ofLogins:   float64(c.known.all() + c.stranger.all()),
		ofSuspects: capped,
		ofNetworks: float64(len(c.networks)),
		ofAccepted: float64(c.stranger.Accepted),
		ofKnown:    float64(c.known.all()),
	}
	return o
}

// minute returns the tick as a part of its minute.
func (c *counts) minute() Minute {
	return Minute{
		Known: c.known, Stranger: c.stranger, Users: c.users, Networks: len(c.networks), Opened: c.opened, Closed: c.closed,
	}
}
