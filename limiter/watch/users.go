package watch

import "time"

// promptly is how long the greeting may take for a known user's login to count as good.
const promptly = 2500 * time.Millisecond

// promised is the share of logins of the known that are to be served.
const Promised = 0.995

// Users is what the known met: the service's promise to its users, apart from everything strangers do. Attempts whose
// client left, and those that were denied, are kept out of it: a wrong password is nobody's failure, unless so many are
// wrong that the watch calls it an authentication fault.
type Users struct {
	Good    int    `json:"good"`    // accepted, and greeted within 2.5 s
	Slow    int    `json:"slow"`    // accepted, but greeted or let go on later than that
	Limited int    `json:"limited"` // refused by the gate
	Fault   int    `json:"fault"`   // failed for a backend
	Denied  int    `json:"denied"`  // repeats included; not part of the ratio
	Greeted Delays `json:"greeted"` // time from accept to the greeting
}

// count adds one attempt of the known.
func (u *Users) count(a *Attempt) {
	switch a.Outcome {
	case Accepted:
		if a.Greeting > promptly || a.Waited > promptly {
			u.Slow++
		} else {
			u.Good++
		}
	case Denied, Repeat:
		u.Denied++
	case Rejected, Shed:
		u.Limited++
	case Fault:
		u.Fault++
	}
	if a.Greeting > 0 {
		u.Greeted.count(a.Greeting)
	}
}

// add adds what v counted.
func (u *Users) Add(v Users) {
	u.Good += v.Good
	u.Slow += v.Slow
	u.Limited += v.Limited
	u.Fault += v.Fault
	u.Denied += v.Denied
	u.Greeted.add(v.Greeted)
}

// Asked is how many attempts the ratio is made of.
func (u *Users) Asked() int { return u.Good + u.Slow + u.Limited + u.Fault }

// Served is the share of them that were let in, and 1 if nobody asked.
func (u *Users) Served() float64 {
	if u.Asked() == 0 {
		return 1
	}
	return float64(u.Good+u.Slow) / float64(u.Asked())
}

// impaired says whether so many were not served that what is promised for a month would be used up in two days.
func (u *Users) impaired() bool {
	return u.Asked() >= 20 && 1-u.Served() > 14.4*(1-Promised)
}
