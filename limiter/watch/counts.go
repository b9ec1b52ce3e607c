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
	beyond   suspects // from networks beyond tickNetworks, or that another gateway has not listed
	more     int      // networks that another gateway has not listed, with guesses
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

// add adds the counts of another tick, or of another gateway.
func (c *counts) add(o *counts) {
	c.known.add(o.known)
	c.stranger.add(o.stranger)
	c.users.Add(o.users)
	c.denied += o.denied
	c.waited += o.waited
	c.opened += o.opened
	c.closed += o.closed
	for network, n := range o.networks {
		c.suspect(network, n)
	}
	c.beyond = suspects{c.beyond.guesses + o.beyond.guesses, c.beyond.unanswered + o.beyond.unanswered}
	c.more += o.more
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

// observation sums up the tick. A network counts for at most networkCap suspects, and only if p lets it count. hash returns
// the hash of a network.
func (c *counts) observation(networkCap float64, p *pace, hash func(netip.Prefix) uint64) observation {
	p.tick++
	o := observation{
		known: c.known, stranger: c.stranger, denied: c.denied,
		checked: c.waited + c.stranger.Refused(), opened: c.opened, closed: c.closed,
	}
	o.add(float64(c.beyond.guesses), 0, c.beyond)
	o.unanswered.capped += float64(c.beyond.unanswered)
	o.rates[ofNetworks] += float64(c.more)
	for network, n := range c.networks {
		most := networkCap
		if !p.counts(network) {
			most = 0
		}
		guesses := min(float64(n.guesses), most)
		o.add(guesses, min(float64(n.guesses+n.unanswered), most)-guesses, n)
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

// paceNetworks is how many networks are kept in each generation of a pace.
const paceNetworks = 1 << 14

// A pace limits a network at a small site, where a single suspect in each tick would be more than its share: it counts only
// in some ticks.
type pace struct {
	every int // ticks; 0 if each counts
	tick  int
	last  generations[netip.Prefix, int] // the tick in which each network counted
}

func newPace() pace { return pace{last: newGenerations[netip.Prefix, int](paceNetworks)} }

// counts reports whether a network counts in this tick.
func (p *pace) counts(network netip.Prefix) bool {
	if p.every <= 1 {
		return true
	}
	if last, there := p.last.get(network); there && p.tick-last < p.every {
		return false
	}
	p.last.put(network, p.tick)
	return true
}

// minute returns the tick as a part of its minute.
func (c *counts) minute() Minute {
	return Minute{
		Known: c.known, Stranger: c.stranger, Users: c.users, Networks: len(c.networks) + c.more, Opened: c.opened, Closed: c.closed,
	}
}
