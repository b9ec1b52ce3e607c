package watch

import "time"

// A Minute counts what happened in one minute. Its JSON form is one line of at most 1 KB, for the caller to append to a
// file; 35 days of them are 50,400. Two parts of one minute, as around a restart, add up.
type Minute struct {
	Start    time.Time `json:"start"`
	Class    Class     `json:"class"`     // the gravest in it
	Known    Tally     `json:"known"`     // attempts of the known
	Stranger Tally     `json:"strangers"` // and of all others
	Users    Users     `json:"users"`     // the known again, in terms of what the service promises them
	Networks int       `json:"networks"`  // distinct networks behind suspects, counted anew every 10 s
	Opened   int       `json:"opened"`    // sessions
	Closed   int       `json:"closed"`

	Expected Signals `json:"expected"` // in it; zero while nothing is known
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
