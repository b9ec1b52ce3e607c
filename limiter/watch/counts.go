package watch

import "net/netip"

// tickNetworks is the most networks counted in one tick. More than that is an attack anyway.
const tickNetworks = 1 << 16

// counts are the counts of one tick.
type counts struct {
	known    Outcomes
	stranger Outcomes
	users    Users
	denied   int // attempts of the known that were denied, where nothing is known about the credential
	waited   int // attempts of strangers that had to wait
	opened   int // sessions
	closed   int

	networks map[netip.Prefix]suspects
	beyond   suspects // from networks beyond tickNetworks
}

// suspects are numbers of new suspects.
type suspects struct {
	guesses    int // denied or rejected
	unanswered int // ended without an answer or, as a connection, without an attempt
}

func newCounts() counts {
	return counts{networks: map[netip.Prefix]suspects{}}
}

// reset begins a new tick.
func (c *counts) reset() {
	clear(c.networks)
	*c = counts{networks: c.networks}
}

// attempt counts one attempt. Its suspects are counted by suspect.
func (c *counts) attempt(a *Attempt) {
	if a.Known {
		c.known.count(a.Outcome)
		c.users.count(a)
		if a.Outcome == Denied && !a.Worked && !a.Former && !a.Compared {
			c.denied++
		}
		return
	}
	c.stranger.count(a.Outcome)
	if a.Waited > 0 {
		c.waited++
	}
}

// suspect counts new suspects from one network.
func (c *counts) suspect(network netip.Prefix, s suspects) {
	n, there := c.networks[network]
	if there || len(c.networks) < tickNetworks {
		c.networks[network] = suspects{n.guesses + s.guesses, n.unanswered + s.unanswered}
	} else {
		c.beyond = suspects{c.beyond.guesses + s.guesses, c.beyond.unanswered + s.unanswered}
	}
}

// observation sums up the tick. A network counts for at most networkCap suspects. hash returns the hash of a network.
func (c *counts) observation(networkCap float64, hash func(netip.Prefix) uint64) observation {
	o := observation{
		known: c.known, stranger: c.stranger, denied: c.denied,
		checked: c.waited + c.stranger.Refused(), opened: c.opened, closed: c.closed,
	}
	o.add(float64(c.beyond.guesses), 0, c.beyond)
	o.unanswered.capped += float64(c.beyond.unanswered)
	for network, n := range c.networks {
		guesses := min(float64(n.guesses), networkCap)
		o.add(guesses, min(float64(n.guesses+n.unanswered), networkCap)-guesses, n)
		if n.guesses > 0 {
			o.rates[ofNetworks]++
			o.places.add(hash(network))
		} else {
			o.unanswered.networks++
		}
	}
	o.rates[ofLogins] = float64(c.known.all() + c.stranger.all())
	o.rates[ofAccepted] = float64(c.stranger.Accepted)
	o.rates[ofKnown] = float64(c.known.all())
	return o
}

// minute returns the tick as a part of its minute.
func (c *counts) minute() Minute {
	return Minute{
		Known: c.known, Stranger: c.stranger, Users: c.users, Networks: len(c.networks), Opened: c.opened, Closed: c.closed,
	}
}
