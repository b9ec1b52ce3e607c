package bench

import (
	"fmt"
	"time"
)

// The limits within which a gateway has held.
const (
	heldShare = 99.0        // per cent of the users' logins that must be accepted
	heldTimes = 2.0         // latency under attack, as a multiple of that before
	heldSlack = time.Second // or that much more than before
	lateMax   = 500.0       // ms by which the bench may be late before latencies are doubtful
)

// attackResult is what an attack on a running gateway did to its users.
type attackResult struct {
	before, during       *results  // latency of users at their usual addresses
	beforeServed, served countedOf // all users
	late                 *results  // how late the bench itself was
	attackers            int       // logins of attackers
	guessed              int       // of them, accepted
}

// countedOf is how many logins were accepted, of how many.
type countedOf struct{ accepted, all int }

// add adds what r has counted.
func (c *countedOf) add(r *results) {
	c.accepted += r.accepted()
	c.all += r.all()
}

// percent is the share of the accepted, 0 if there are none.
func (c countedOf) percent() float64 { return 100 * float64(c.accepted) / float64(max(1, c.all)) }

// String says how users were served and whether the gateway held.
func (r attackResult) String() string {
	text := fmt.Sprintf("users served %s %% (%d of %d logins), 99 %% of them within %s ms (%s ms before the attack)",
		number(r.served.percent()), r.served.accepted, r.served.all, number(r.during.millis(99)), number(r.before.millis(99)))
	text += ": " + r.conclusion() + "."
	if r.guessed > 0 {
		text += fmt.Sprintf(" %d logins of attackers were accepted: look for accounts whose password can be guessed, or a mail server that accepts any.", r.guessed)
	}
	if r.late.millis(99) > lateMax {
		text += fmt.Sprintf(" The bench itself was late by %s ms (99 %%), so latencies are doubtful: use another machine for it, or lower -most.", number(r.late.millis(99)))
	}
	return text
}

// conclusion says whether the gateway held.
func (r attackResult) conclusion() string {
	before, during := r.before.millis(99), r.during.millis(99)
	switch {
	case r.served.all == 0:
		return "no conclusion, because no user logged in during the attack (use more users or a longer -attack)"
	case r.attackers == 0:
		return "no conclusion, because there was no login of an attacker"
	case r.beforeServed.percent() < heldShare:
		return fmt.Sprintf("no conclusion, because only %s %% were served before the attack", number(r.beforeServed.percent()))
	case r.served.percent() < heldShare:
		return fmt.Sprintf("the gateway did not hold, because less than %g %% were served", heldShare)
	case during > max(heldTimes*before, before+float64(heldSlack.Milliseconds())):
		return fmt.Sprintf("the gateway served users too slowly, more than %g times and %v slower than before", heldTimes, heldSlack)
	}
	return "the gateway held"
}
