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
	Compared   bool // a credential of the account is known, so one that did not work before is not what worked

	JA4 string // fingerprint of the client's TLS, at most 36 octets; empty in clear text

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

// suspect reports whether a is an attempt by a stranger that was denied, or rejected for earlier denials. A credential that
// worked before is no guess: it was changed, or the password database fails.
func (a *Attempt) suspect() bool {
	return !a.Known && !a.Worked && !a.Former && (a.Outcome == Denied || a.Outcome == Rejected)
}

// unanswered reports whether a is an attempt by a stranger that ended without an answer, although no backend is at fault:
// the client hung up, or something was full.
func (a *Attempt) unanswered() bool {
	return !a.Known && !a.Worked && !a.Former && (a.Outcome == Gone || a.Outcome == Shed)
}

// proves reports whether a says something about a credential that worked: it was accepted or denied now, or replaced by
// another one. An attempt that was rejected says nothing, because others can have caused that.
func (a *Attempt) proves() bool {
	switch a.Outcome {
	case Accepted:
		return a.Credential != 0 && !a.Former
	case Denied, Repeat:
		return a.Worked
	}
	return false
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
