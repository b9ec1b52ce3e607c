package incident

import (
	"slices"
	"time"

	"postern/limiter/watch"
)

// When trouble counts.
const (
	deniedFor   = 3 * time.Minute  // that correct passwords are denied before an alert
	deniedShare = 0.25             // of them; a smaller share is no alert
	breakMost   = time.Minute      // a shorter break does not end trouble
	calmFor     = 5 * time.Minute  // that trouble which a person has ended must be absent before it causes an alert again
	calmSlow    = time.Hour        // the same for trouble that is measured over hours, and before such an incident is only monitored
	calmFalse   = 20 * time.Second // the same after a false alarm: the watch has learned that it is usual
	restartFor  = 5 * time.Minute  // of states after a restart before the absence of trouble counts: it must be detected again first
	gapMost     = time.Minute      // between two states: after a longer one, as of a suspended machine, it is as after a restart
)

// symptomClasses are the classes that can be symptoms.
var symptomClasses = []watch.Class{
	watch.ClassAttack, watch.ClassAuthFault, watch.ClassSlowSpray, watch.ClassAccountAbuse, watch.ClassBackendFault, watch.ClassStorm,
}

// sameTrouble reports whether a and b are degrees of the same trouble.
func sameTrouble(a, b watch.Class) bool {
	denied := []watch.Class{watch.ClassAttack, watch.ClassNotice, watch.ClassSingleSource}
	return a == b || slices.Contains(denied, a) && slices.Contains(denied, b)
}

// slow reports whether trouble of this class is measured over hours, and takes long to be detected again after a restart.
func slow(class watch.Class) bool {
	return class == watch.ClassSlowSpray || class == watch.ClassAccountAbuse
}

// troubles returns the classes of all trouble in s, the gravest first.
func troubles(s watch.State) (all []watch.Class) {
	for _, trouble := range []struct {
		class watch.Class
		there bool
	}{
		{watch.ClassAttack, s.Attacked()},
		{watch.ClassAuthFault, s.AuthFault},
		{watch.ClassSlowSpray, s.SlowSpray},
		{watch.ClassAccountAbuse, s.AccountAbuse},
		{watch.ClassBackendFault, s.BackendFault},
		{watch.ClassStorm, s.Storm},
		{watch.ClassImpaired, s.Impaired},
		{watch.ClassNotice, s.Tighten},
	} {
		if trouble.there {
			all = append(all, trouble.class)
		}
	}
	return all
}

// A spell is a time in which there was trouble of one class, with short breaks.
type spell struct{ from, last time.Time }

// extend adds time t, at which there was trouble.
func (p spell) extend(t time.Time) spell {
	if p.from.IsZero() || t.Sub(p.last) > breakMost {
		p.from = t
	}
	p.last = t
	return p
}

// recentRates keeps the rates of the states of RateWindow.
type recentRates struct {
	observed, expected [int(RateWindow / (10 * time.Second))]watch.Signals
	n                  int // added in all
}

// add adds the rates of a tick.
func (w *recentRates) add(s watch.State) {
	k := w.n % len(w.observed)
	w.observed[k], w.expected[k] = s.Observed, s.Expected
	w.n++
}

// means returns the mean rates.
func (w *recentRates) means() (observed, expected watch.Signals) {
	n := min(w.n, len(w.observed))
	for k := range n {
		observed, expected = sum(observed, w.observed[k]), sum(expected, w.expected[k])
	}
	for _, s := range []*watch.Signals{&observed, &expected} {
		s.Logins /= float64(max(n, 1))
		s.Suspects /= float64(max(n, 1))
		s.Networks /= float64(max(n, 1))
	}
	return observed, expected
}

// sum returns a + b.
func sum(a, b watch.Signals) watch.Signals {
	return watch.Signals{Logins: a.Logins + b.Logins, Suspects: a.Suspects + b.Suspects, Networks: a.Networks + b.Networks}
}

// note updates what is known about the trouble from s.
func (l *Log) note(s watch.State) {
	t := s.Time
	if l.first.IsZero() || t.Sub(l.latest.Time) > gapMost {
		l.first = t
	}
	l.latest = s
	l.rates.add(s)
	if l.notServed.IsZero() || s.Users.Served() < servedWell || s.AuthFault {
		l.notServed = t
	}
	for _, class := range troubles(s) {
		l.spells[class] = l.spells[class].extend(t)
		if class != watch.ClassStorm { // a storm alone is no trouble
			l.trouble = t
		}
	}
	if s.AuthFault && s.DeniedShare >= deniedShare {
		l.denied = l.denied.extend(t)
	}
	l.alarms = l.alarming(s)
	if len(l.alarms) > 0 {
		l.alarm = t
	}
}

// alarming returns the classes of the trouble in s that needs an alert, the gravest first.
func (l *Log) alarming(s watch.State) (all []watch.Class) {
	for _, class := range troubles(s) {
		switch class {
		case watch.ClassAttack, watch.ClassSlowSpray, watch.ClassAccountAbuse, watch.ClassImpaired:
			all = append(all, class)
		case watch.ClassAuthFault:
			if l.denied.last.Equal(s.Time) && s.Time.Sub(l.denied.from) >= deniedFor {
				all = append(all, class)
			}
		}
	}
	return all
}

// onSince returns since when there has been trouble of this class, or a lesser degree of it, at time t. It returns the zero
// time if there is none.
func (l *Log) onSince(t time.Time, class watch.Class) time.Time {
	for _, c := range []watch.Class{class, watch.ClassNotice} {
		if p := l.spells[c]; sameTrouble(c, class) && !p.last.IsZero() && t.Sub(p.last) <= breakMost {
			return p.from
		}
	}
	return time.Time{}
}

// beginning returns when trouble of this class, which is in s, began.
func (l *Log) beginning(s watch.State, class watch.Class) time.Time {
	if sameTrouble(class, watch.ClassAttack) && !s.Onset.IsZero() {
		return s.Onset
	}
	if p := l.spells[class]; p.last.Equal(s.Time) {
		return p.from
	}
	return s.Time
}

// observed reports whether enough states have been observed since the start to tell that there is no trouble.
func (l *Log) observed(t time.Time) bool { return !l.first.IsZero() && t.Sub(l.first) >= restartFor }

// lastTrouble returns when there was trouble during i for the last time, as far as it is known. Trouble that was on before
// a restart may have lasted until the first state.
func (l *Log) lastTrouble(i *Incident) time.Time {
	switch {
	case !l.trouble.IsZero():
		return l.trouble
	case !i.Quiet.IsZero():
		return i.Quiet
	}
	return l.first
}

// ignored returns the trouble that causes no alert, because a person has ended an incident while it was on.
func (l *Log) ignored() (all []watch.Class) {
	for _, i := range l.all {
		all = append(all, i.Still...)
	}
	return all
}

// endIgnored ends the trouble that was on when a person ended an incident, once it has been absent for some minutes.
func (l *Log) endIgnored(s watch.State) {
	for _, i := range l.all {
		for _, class := range slices.Clone(i.Still) {
			calm := calmFor
			switch {
			case i.False:
				calm = calmFalse
			case slow(class):
				calm = calmSlow
			}
			last := later(l.spells[class].last, l.first)
			if s.Time.Sub(last) >= calm {
				l.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindQuiet, Class: class, By: byWatch, Since: last})
			}
		}
	}
}

// evidence returns the evidence of s.
func (l *Log) evidence(s watch.State) *Evidence {
	v := &Evidence{Onset: s.Onset, Excess: s.Excess, Score: s.Score, Served: s.Users.Served()}
	v.Observed, v.Expected = l.rates.means()
	return v
}

// later returns the later of a and b.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
