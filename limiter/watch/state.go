package watch

import (
	"slices"
	"time"
)

// A Class names the present situation. Its text is used in logs, metrics and messages.
type Class string

// The classes. Where several apply, the last of them in this list is reported; [State] has the others.
const (
	ClassNormal       Class = "normal"
	ClassLearning     Class = "learning"      // less than a day is learned
	ClassGrowth       Class = "growth"        // more logins for hours, without more suspects
	ClassNotice       Class = "notice"        // enough excess to tighten limits for strangers, not enough for an alert
	ClassSingleSource Class = "single_source" // the excess comes from few networks; the limiter handles that
	ClassImpaired     Class = "impaired"      // the known are not served, and no class below explains it
	ClassStorm        Class = "storm"         // sessions were lost, and clients reconnect at the same time
	ClassBackendFault Class = "backend_fault" // backends do not answer
	ClassAccountAbuse Class = "account_abuse" // many accounts are logged in to far more often than is their habit
	ClassSlowSpray    Class = "slow_spray"    // for hours, many more sources than usual are denied, a few times each
	ClassAuthFault    Class = "auth_fault"    // the known are denied: the password database is at fault
	ClassAttack       Class = "attack"        // many strangers are denied
)

// Classes returns every class, the mildest first.
func Classes() []Class {
	return []Class{
		ClassNormal, ClassLearning, ClassGrowth, ClassNotice, ClassSingleSource, ClassImpaired, ClassStorm,
		ClassBackendFault, ClassAccountAbuse, ClassSlowSpray, ClassAuthFault, ClassAttack,
	}
}

// Graver returns the graver of two classes.
func Graver(a, b Class) Class {
	if slices.Index(Classes(), b) > slices.Index(Classes(), a) {
		return b
	}
	return a
}

// A State is the result of a tick.
type State struct {
	Time  time.Time `json:"time"`
	Class Class     `json:"class"`
	Since time.Time `json:"since"` // when Class became so
	Onset time.Time `json:"onset"` // when the excess began, by the score; zero if the score is 0

	// Tighten asks for tighter limits for strangers: from a notice on, until it has been quiet for half an hour.
	Tighten bool `json:"tighten"`

	// Other trouble, independent of Class.
	SingleSource bool `json:"single_source"`
	Storm        bool `json:"storm"`
	BackendFault bool `json:"backend_fault"`
	AuthFault    bool `json:"auth_fault"`
	AccountAbuse bool `json:"account_abuse"`
	SlowSpray    bool `json:"slow_spray"`
	Impaired     bool `json:"impaired"`   // over 5 min, more than 7.2 % of the known were not served
	Protecting   bool `json:"protecting"` // over 5 min, strangers had to wait or were refused

	Observed Signals `json:"observed"`
	Expected Signals `json:"expected"`
	Busy     float64 `json:"busy"`   // logins a minute in a busy hour, without suspects
	Excess   float64 `json:"excess"` // as a share of Busy: 0.045 is a notice, 0.1 an attack
	Score    float64 `json:"score"`  // above 8 is significant

	Users Users `json:"users"` // the known, over 5 min

	// DeniedShare is the share of the credentials that worked and are denied now, of all that worked, over some minutes.
	DeniedShare float64 `json:"denied_share"`
	Abused      int     `json:"abused"` // accounts far above their habit, in the last hour

	Learned float64 `json:"learned"` // share of the week that is learned
	Frozen  bool    `json:"frozen"`  // nothing is learned at present
	Drift   float64 `json:"drift"`   // suspects expected in a week, as a multiple of four weeks ago; 0 as long as that is not known
}

// Signals are rates a minute.
type Signals struct {
	Logins   float64 `json:"logins"`
	Suspects float64 `json:"suspects"`
	Networks float64 `json:"networks"` // distinct networks behind suspects, summed over the ticks
}

// Attacked reports whether there is an attack.
func (s *State) Attacked() bool { return s.Class == ClassAttack }

// add adds the rates expected in a tick.
func (s *Signals) add(r rates) {
	s.Logins += r[ofLogins]
	s.Suspects += r[ofSuspects]
	s.Networks += r[ofNetworks]
}

// When a rise of logins is growth.
const (
	growthFactor  = 1.25 // times the logins expected
	growthLearned = 0.99 // of the week
)

// classify sets the class of the tick that ended at t.
func (d *detector) classify(t time.Time) {
	class := d.present(t)
	if class != d.class || d.since.IsZero() {
		d.class, d.since = class, t
	}
}

// present returns the gravest class that applies at t.
func (d *detector) present(t time.Time) Class {
	factor := d.dayFactor.now()
	switch {
	case d.attack.on:
		return ClassAttack
	case t.Before(d.suppressors.authFault):
		return ClassAuthFault
	case d.hourly.slowSpray:
		return ClassSlowSpray
	case d.hourly.accountAbuse:
		return ClassAccountAbuse
	case t.Before(d.suppressors.backendFault):
		return ClassBackendFault
	case t.Before(d.suppressors.storm):
		return ClassStorm
	case d.users.impaired():
		return ClassImpaired
	case d.single.on && !d.notice.on:
		return ClassSingleSource
	case d.notice.on:
		return ClassNotice
	case !d.ready:
		return ClassLearning
	case factor[ofLogins] >= growthFactor && factor[ofSuspects] < growthFactor && d.baseline.learned() >= growthLearned:
		return ClassGrowth
	}
	return ClassNormal
}

// state returns the state for the tick that ended at t.
func (d *detector) state(t time.Time) State {
	s := State{
		Time: t, Class: d.class, Since: d.since,
		Tighten:      d.notice.on || d.attack.on,
		SingleSource: d.single.on,
		Storm:        t.Before(d.suppressors.storm),
		BackendFault: t.Before(d.suppressors.backendFault),
		AuthFault:    t.Before(d.suppressors.authFault),
		AccountAbuse: d.hourly.accountAbuse,
		SlowSpray:    d.hourly.slowSpray,
		Abused:       d.hourly.abused,
		Observed:     d.latest.signals(),
		Expected:     d.expected.signals(),
		Busy:         d.busy * 6,
		Excess:       d.share(d.excess),
		Score:        d.score,
		Users:        d.users,
		DeniedShare:  d.suppressors.deniedShare,
		Impaired:     d.users.impaired(),
		Protecting:   d.recent.protecting(),
		Learned:      d.baseline.learned(),
		Frozen:       d.frozen,
		Drift:        d.drift(),
	}
	if d.score > 0 {
		s.Onset = d.rising
	}
	return s
}
