package watch

import "time"

// When a rise of logins is growth.
const (
	growthFactor  = 1.25 // times the logins expected
	growthLearned = 0.99 // of the week
)

// classify finds the class of the tick that ended at t.
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
	case t.Before(d.suppressors.refusal):
		return ClassAuthFault
	case t.Before(d.suppressors.sick):
		return ClassBackendFault
	case t.Before(d.suppressors.storm):
		return ClassStorm
	case d.met.impaired():
		return ClassImpaired
	case d.loud.on && !d.notice.on:
		return ClassSingleSource
	case d.notice.on:
		return ClassNotice
	case !d.knows:
		return ClassLearning
	case factor[ofLogins] >= growthFactor && factor[ofSuspects] < growthFactor && d.baseline.learned() >= growthLearned:
		return ClassGrowth
	}
	return ClassNormal
}

// state returns what the detector saw in the tick that ended at t.
func (d *detector) state(t time.Time) State {
	s := State{
		Time: t, Class: d.class, Since: d.since,
		Tighten:      d.notice.on || d.attack.on,
		SingleSource: d.loud.on,
		Storm:        t.Before(d.suppressors.storm),
		BackendFault: t.Before(d.suppressors.sick),
		AuthFault:    t.Before(d.suppressors.refusal),
		Observed:     d.latest.signals(),
		Expected:     d.expected.signals(),
		Busy:         d.busy * 6,
		Excess:       d.share(d.excess),
		Score:        d.score,
		Users:        d.met,
		Impaired:     d.met.impaired(),
		Protecting:   d.recent.checked(),
		Learned:      d.baseline.learned(),
		Frozen:       d.frozen,
		Drift:        d.drift(),
	}
	if d.score > 0 {
		s.Onset = d.rising
	}
	return s
}
