package watch

import "time"

// A Minute counts what happened in one minute. Its JSON form is one line of at most 1 KB, to be
// appended to a file; 35 days have 50,400. Two parts of one minute, as before and after a restart, can be added.
type Minute struct {
	Start    time.Time `json:"start"`
	Class    Class     `json:"class"`     // the gravest of its states
	Known    Outcomes  `json:"known"`     // attempts that were known
	Stranger Outcomes  `json:"strangers"` // all others
	Users    Users     `json:"users"`     // how the known were served
	Networks int       `json:"networks"`  // distinct networks behind suspects, summed over its ticks
	Opened   int       `json:"opened"`    // sessions
	Closed   int       `json:"closed"`

	Expected Signals `json:"expected"` // zero as long as nothing is learned
}

// Logins returns how many attempts were settled.
func (m *Minute) Logins() int { return m.Known.all() + m.Stranger.all() }

// Add adds another part of the same minute.
func (m *Minute) Add(n Minute) {
	m.Class = Graver(m.Class, n.Class)
	m.Known.add(n.Known)
	m.Stranger.add(n.Stranger)
	m.Users.Add(n.Users)
	m.Networks += n.Networks
	m.Opened += n.Opened
	m.Closed += n.Closed
	m.Expected.Logins += n.Expected.Logins
	m.Expected.Suspects += n.Expected.Suspects
	m.Expected.Networks += n.Expected.Networks
}

// Promised is the share of logins of the known that the service promises to serve.
const Promised = 0.995

// Users counts how the known were served. Denied attempts and those whose client closed the connection are not part of
// the ratio of served ones: a wrong password is no failure of the service. If very many are denied, the watch reports a
// fault of authentication.
type Users struct {
	Good    int    `json:"good"` // these are the results of [Attempt.UserResult]
	Slow    int    `json:"slow"`
	Limited int    `json:"limited"`
	Fault   int    `json:"fault"`
	Denied  int    `json:"denied"`  // not part of the ratio
	Greeted Delays `json:"greeted"` // time from accept to the greeting
}

// count adds one attempt of the known.
func (u *Users) count(a *Attempt) {
	switch a.UserResult() {
	case UserGood:
		u.Good++
	case UserSlow:
		u.Slow++
	case UserLimited:
		u.Limited++
	case UserFault:
		u.Fault++
	case UserDenied:
		u.Denied++
	}
	if a.Greeting > 0 {
		u.Greeted.count(a.Greeting)
	}
}

// Add adds the counts of v.
func (u *Users) Add(v Users) {
	u.Good += v.Good
	u.Slow += v.Slow
	u.Limited += v.Limited
	u.Fault += v.Fault
	u.Denied += v.Denied
	u.Greeted.add(v.Greeted)
}

// Asked returns the number of attempts that the ratio is of.
func (u *Users) Asked() int { return u.Good + u.Slow + u.Limited + u.Fault }

// Served returns the share of these that were accepted, or 1 if there were none.
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

// delayBounds are the upper bounds of the buckets of Delays. Longer times have a bucket of their own.
var delayBounds = [...]time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Delays is a histogram of times up to 50, 100, 250 and 500 ms, 1, 2.5, 5, 10 and 30 s, and longer ones.
type Delays [len(delayBounds) + 1]int

// count adds one time.
func (d *Delays) count(took time.Duration) {
	for i, bound := range delayBounds {
		if took <= bound {
			d[i]++
			return
		}
	}
	d[len(delayBounds)]++
}

// add adds the counts of e.
func (d *Delays) add(e Delays) {
	for i, n := range e {
		d[i] += n
	}
}

// total returns how many times were counted.
func (d *Delays) total() (n int) {
	for _, in := range d {
		n += in
	}
	return n
}

// Quantile returns the time that a share q of the times did not exceed. It interpolates within a bucket. It is zero if
// there are no times, and 30 s at most.
func (d *Delays) Quantile(q float64) time.Duration {
	left := q * float64(d.total())
	if left <= 0 {
		return 0
	}
	var low time.Duration
	for i, high := range delayBounds {
		if in := float64(d[i]); left <= in {
			return low + time.Duration(left/in*float64(high-low))
		}
		left -= float64(d[i])
		low = high
	}
	return low
}
