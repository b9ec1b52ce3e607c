package watch

import "time"

// A State is what the watch sees at the end of a tick.
type State struct {
	Time  time.Time `json:"time"`
	Class Class     `json:"class"`
	Since time.Time `json:"since"` // when Class became so
	Onset time.Time `json:"onset"` // when the excess began, as far as the score tells; zero without a score

	// Tighten asks for tighter limits for strangers: from a notice on, until it has been quiet for half an hour.
	Tighten bool `json:"tighten"`

	// What else is amiss, independent of Class.
	SingleSource bool `json:"single_source"`
	Storm        bool `json:"storm"`
	BackendFault bool `json:"backend_fault"`
	AuthFault    bool `json:"auth_fault"`
	Impaired     bool `json:"impaired"`   // of the known, more than 7.2 % (14.4 times what is promised) were not served in 5 min
	Protecting   bool `json:"protecting"` // within 5 min a stranger was made to wait or was refused

	Observed Signals `json:"observed"`
	Expected Signals `json:"expected"`
	Busy     float64 `json:"busy"`   // logins a minute in a busy hour, suspects not counted
	Excess   float64 `json:"excess"` // as a share of Busy: 0.045 is a notice, 0.1 an attack
	Score    float64 `json:"score"`  // above 8 is significant

	Users Users `json:"users"` // the known, over 5 min

	Learned float64 `json:"learned"` // share of the week that is known
	Frozen  bool    `json:"frozen"`  // nothing is being learned
	Drift   float64 `json:"drift"`   // suspects expected in a week, now over four weeks ago; 0 as long as that is not known
}

// Signals are rates a minute.
type Signals struct {
	Logins   float64 `json:"logins"`
	Suspects float64 `json:"suspects"`
	Networks float64 `json:"networks"` // distinct ones behind suspects, counted anew every 10 s
}

// Attacked reports whether people must be told of an attack.
func (s *State) Attacked() bool { return s.Class == ClassAttack }

// add adds what a tick was expected to bring.
func (s *Signals) add(r rates) {
	s.Logins += r[ofLogins]
	s.Suspects += r[ofSuspects]
	s.Networks += r[ofNetworks]
}
