package watch

import (
	"net/netip"
	"time"
)

// An Attempt is one login a client asked for, reported once, when it is settled. Attempts from exempt addresses, such as a
// webmail or a monitoring probe, are not reported at all.
type Attempt struct {
	Source  netip.Prefix // the address block it is charged to
	Network netip.Prefix // the wider block around that
	Account string       // as the client sent it; kept for the report, folded and cut to 64 octets
	Known   bool         // by device, by credential, or because the account was accepted from this source
	Usual   bool         // the account has been accepted from this network before

	// Credential is a keyed digest of account and secret. It distinguishes new guesses from repeats of an old one. It is
	// zero if no secret was shown.
	Credential uint64
	Worked     bool // Credential is the one that was accepted last for the account
	Former     bool // Credential was accepted for the account before, but another one since

	Outcome Outcome

	Rule   string        // the rule that made it wait or refused it; empty if none did. From a fixed set of names.
	Waited time.Duration // before the password was tried

	// Greeting is the time from accept to the greeting, and zero for all but the first attempt of a connection.
	Greeting time.Duration
}

// An Outcome is how an attempt ended. The limiter has one outcome, void, for causes that are distinguished here.
type Outcome uint8

// The outcomes.
const (
	Gone     Outcome = iota // the client closed the connection before the answer
	Accepted                // by a backend
	Denied                  // by a backend: wrong credentials
	Repeat                  // as in package limiter: denied again without asking a backend
	Rejected                // refused by a rule about denials: source, network, pair or account
	Shed                    // refused because something was full: lane, tarpit, connections, logins of a backend
	Fault                   // no backend was reachable, or the backend reported a fault of its own
	numOutcomes
)

// String returns the name of the outcome.
func (o Outcome) String() string {
	return [...]string{"gone", "accepted", "denied", "repeat", "rejected", "shed", "fault"}[o]
}

// suspect reports whether a is an attempt by a stranger that was denied, or rejected for earlier denials.
func (a *Attempt) suspect() bool {
	return !a.Known && (a.Outcome == Denied || a.Outcome == Rejected)
}

// Outcomes counts attempts by their outcome.
type Outcomes struct {
	Gone     int `json:"gone,omitempty"`
	Accepted int `json:"accepted,omitempty"`
	Denied   int `json:"denied,omitempty"`
	Repeat   int `json:"repeat,omitempty"`
	Rejected int `json:"rejected,omitempty"`
	Shed     int `json:"shed,omitempty"`
	Fault    int `json:"fault,omitempty"`
}

// count adds one attempt.
func (c *Outcomes) count(o Outcome) {
	*[...]*int{&c.Gone, &c.Accepted, &c.Denied, &c.Repeat, &c.Rejected, &c.Shed, &c.Fault}[o]++
}

// add adds the counts of d.
func (c *Outcomes) add(d Outcomes) {
	c.Gone += d.Gone
	c.Accepted += d.Accepted
	c.Denied += d.Denied
	c.Repeat += d.Repeat
	c.Rejected += d.Rejected
	c.Shed += d.Shed
	c.Fault += d.Fault
}

// all returns how many attempts were counted.
func (c Outcomes) all() int {
	return c.Gone + c.Accepted + c.Denied + c.Repeat + c.Rejected + c.Shed + c.Fault
}

// Refused returns how many attempts postern refused itself.
func (c Outcomes) Refused() int { return c.Rejected + c.Shed }

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
