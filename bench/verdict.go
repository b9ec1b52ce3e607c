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

// judged is what the verdict on a running gateway is made of.
type judged struct {
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

// String is the verdict in words.
func (j judged) String() string {
	text := fmt.Sprintf("users served %s %% (%d of %d logins), 99 %% of them within %s ms (%s ms before the attack)",
		number(j.served.percent()), j.served.accepted, j.served.all, number(j.during.millis(99)), number(j.before.millis(99)))
	text += ": " + j.conclusion() + "."
	if j.guessed > 0 {
		text += fmt.Sprintf(" %d logins of attackers were accepted: look for accounts whose password can be guessed, or a mail server that accepts any.", j.guessed)
	}
	if j.late.millis(99) > lateMax {
		text += fmt.Sprintf(" The bench itself was late by %s ms (99 %%), so latencies are doubtful: use another machine for it, or lower -most.", number(j.late.millis(99)))
	}
	return text
}

// conclusion says whether the gateway held.
func (j judged) conclusion() string {
	before, during := j.before.millis(99), j.during.millis(99)
	switch {
	case j.served.all == 0:
		return "no verdict, because no user logged in during the attack; more users, or a longer -attack, would"
	case j.attackers == 0:
		return "no verdict, because there was no login of an attacker"
	case j.beforeServed.percent() < heldShare:
		return fmt.Sprintf("no verdict, because only %s %% were served before the attack", number(j.beforeServed.percent()))
	case j.served.percent() < heldShare:
		return fmt.Sprintf("the gateway did not hold, because less than %g %% were served", heldShare)
	case during > max(heldTimes*before, before+float64(heldSlack.Milliseconds())):
		return fmt.Sprintf("the gateway served users too slowly, more than %g times and %v slower than before", heldTimes, heldSlack)
	}
	return "the gateway held"
}
