package watch

import "time"

// promptly is how long the greeting may take for a known user's login to count as good.
const promptly = 2500 * time.Millisecond

// Promised is the share of logins of the known that the service promises to serve.
const Promised = 0.995

// Users counts how the known were served, apart from everything strangers do. Attempts whose client left and those that
// were denied are not part of the ratio: a wrong password is no failure of the service. If very many are wrong, the watch
// reports a fault of authentication.
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

// Add adds what v counted.
func (u *Users) Add(v Users) {
	u.Good += v.Good
	u.Slow += v.Slow
	u.Limited += v.Limited
	u.Fault += v.Fault
	u.Denied += v.Denied
	u.Greeted.add(v.Greeted)
}

// Asked returns how many attempts the ratio is of.
func (u *Users) Asked() int { return u.Good + u.Slow + u.Limited + u.Fault }

// Served returns the share of these that were accepted, or 1 if nobody asked.
func (u *Users) Served() float64 {
	if u.Asked() == 0 {
		return 1
	}
	return float64(u.Good+u.Slow) / float64(u.Asked())
}

// impaired reports whether failures are so frequent that they would use up the error budget of a month in two days.
func (u *Users) impaired() bool {
	return u.Asked() >= 20 && 1-u.Served() > 14.4*(1-Promised)
}
