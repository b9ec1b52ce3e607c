package incident

import (
	"slices"
	"time"

	"postern/limiter/watch"
)

// When incidents change by themselves.
const (
	deniedFor    = 3 * time.Minute  // that the known are denied before an alert
	servedFor    = 5 * time.Minute  // that users are served before it counts as mitigated
	servedWell   = 0.99             // of the known
	quietFor     = 30 * time.Minute // before a suspected incident is dismissed, or one other than an attack is only monitored
	cleanFor     = 60 * time.Minute // before a monitored incident is resolved
	reopenFor    = 2 * time.Hour    // after it was resolved
	symptomFor   = 10 * time.Minute // that a symptom must be absent before it ends
	evidenceEach = 10 * time.Minute
	evidenceMore = 1.25 // times the peak: a new event of evidence
)

// Observe adds the state at the end of a tick and returns the new events, usually none. They must be stored before
// messages about them are sent.
func (l *Log) Observe(s watch.State) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Time.IsZero() || !slices.Contains(watch.Classes(), s.Class) { // not from a tick
		return nil
	}
	l.noteTimes(s)
	i := l.open()
	switch {
	case i == nil:
		l.begin(s)
	case i.Phase == Suspected:
		l.updateClass(s, i)
		l.updateSuspected(s, i)
	default:
		l.updateClass(s, i)
		l.attach(s, i)
		l.updatePhase(s, i)
	}
	return l.flush()
}

// noteTimes updates the times of each degree of trouble.
func (l *Log) noteTimes(s watch.State) {
	t := s.Time
	if !s.AuthFault {
		l.denied = time.Time{}
	} else if l.denied.IsZero() {
		l.denied = t
	}
	if l.notServed.IsZero() || s.Users.Served() < servedWell || s.AuthFault {
		l.notServed = t
	}
	if s.Tighten || s.BackendFault || s.AuthFault || s.Impaired {
		l.trouble = t
	}
	if l.alarming(s) {
		l.alarm = t
	} else {
		l.endedByPerson = false
	}
}

// alarming reports whether s needs an alert.
func (l *Log) alarming(s watch.State) bool {
	return s.Attacked() || s.Impaired || s.AuthFault && s.Time.Sub(l.denied) >= deniedFor
}

// begin opens an incident, or reopens the latest, if s is a reason to.
func (l *Log) begin(s watch.State) {
	ended := l.latest(func(i *Incident) bool { return i.Phase == Resolved && !i.False && s.Time.Sub(i.Ended) < reopenFor })
	alarming := l.alarm.Equal(s.Time)
	switch {
	case l.endedByPerson:
	case alarming && ended != nil:
		l.emit(Event{
			Time: s.Time, Incident: ended.ID, Kind: KindReopen, From: Resolved, To: Investigating, By: byWatch, Evidence: evidence(s),
		})
	case alarming:
		l.emit(l.opening(s, Detected))
	case l.trouble.Equal(s.Time) && ended == nil:
		l.emit(l.opening(s, Suspected))
	}
}

// opening returns the event of an incident that begins in phase p.
func (l *Log) opening(s watch.State, p Phase) Event {
	return Event{
		Time: s.Time, Incident: l.newID(s.Time), Kind: KindOpen, To: p, Class: s.Class, By: byWatch, Evidence: evidence(s),
	}
}

// updateClass gives i the class of s if that is graver, unless a person has classified i. A milder class never replaces a graver one: in 2022
// failing backends hid the attack.
func (l *Log) updateClass(s watch.State, i *Incident) {
	if i.Classified || watch.Graver(i.Class, s.Class) == i.Class {
		return
	}
	if !l.trouble.Equal(s.Time) { // a storm alone is no trouble
		return
	}
	l.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindClass, Class: s.Class, By: byWatch, Evidence: evidence(s)})
}

// updateSuspected decides whether the suspected incident i is detected or dismissed.
func (l *Log) updateSuspected(s watch.State, i *Incident) {
	switch {
	case l.alarm.Equal(s.Time):
		l.enter(s, i, Detected)
	case s.Time.Sub(later(l.trouble, i.Opened)) >= quietFor:
		l.enter(s, i, Dismissed)
	}
}

// updatePhase decides about the next phase of i, which has been detected.
func (l *Log) updatePhase(s watch.State, i *Incident) {
	t := s.Time
	if !i.Public() && !i.Held && t.Sub(i.Detected) >= l.hold {
		l.emit(Event{Time: t, Incident: i.ID, Kind: KindPublish, By: byWatch})
		if i.Phase == Detected {
			l.enter(s, i, Investigating)
		}
	}
	if t.Sub(i.Changed) >= evidenceEach && s.Excess > evidenceMore*i.Peak.Excess {
		l.emit(Event{Time: t, Incident: i.ID, Kind: KindEvidence, By: byWatch, Evidence: evidence(s)})
	}
	switch i.Phase {
	case Detected, Investigating:
		if l.over(s, i) {
			l.enter(s, i, Monitoring)
		} else if l.mitigated(s, i) {
			l.enter(s, i, Mitigating)
		}
	case Mitigating:
		if l.over(s, i) {
			l.enter(s, i, Monitoring)
		}
	case Monitoring:
		if l.alarm.Equal(t) {
			l.enter(s, i, Mitigating)
		} else if t.Sub(later(l.alarm, i.entered())) >= cleanFor {
			l.enter(s, i, Resolved)
		}
	}
}

// mitigated reports whether users have been served for a while although the trouble continues.
func (l *Log) mitigated(s watch.State, i *Incident) bool {
	return (s.Protecting || i.Class != watch.ClassAttack) && s.Time.Sub(later(l.notServed, i.entered())) >= servedFor
}

// over reports whether the trouble is over. For attacks the watch has already waited for half an hour.
func (l *Log) over(s watch.State, i *Incident) bool {
	if l.alarm.Equal(s.Time) || s.BackendFault || s.AuthFault {
		return false
	}
	return i.Class == watch.ClassAttack && !l.alarm.IsZero() || s.Time.Sub(later(l.trouble, i.entered())) >= quietFor
}

// entered returns when i entered its phase.
func (i *Incident) entered() time.Time {
	for k := len(i.Events) - 1; k > 0; k-- {
		if e := &i.Events[k]; e.Kind == KindPhase || e.Kind == KindReopen {
			return e.Time
		}
	}
	return i.Opened
}

// enter changes the phase of i to p.
func (l *Log) enter(s watch.State, i *Incident, p Phase) {
	l.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: p, By: byWatch, Evidence: evidence(s)})
}

// attach adds symptoms to i, and ends them.
func (l *Log) attach(s watch.State, i *Incident) {
	for _, symptom := range []struct {
		class watch.Class
		there bool
	}{
		{watch.ClassAttack, s.Attacked()},
		{watch.ClassAuthFault, s.AuthFault},
		{watch.ClassBackendFault, s.BackendFault},
		{watch.ClassStorm, s.Storm},
	} {
		if symptom.there {
			l.seen[symptom.class] = s.Time
		}
		running := i.has(symptom.class)
		e := Event{Time: s.Time, Incident: i.ID, Kind: KindAttach, Class: symptom.class, By: byWatch}
		switch {
		case symptom.class == i.Class:
		case symptom.there && !running:
			e.Evidence = evidence(s)
			l.emit(e)
		case running && s.Time.Sub(l.seen[symptom.class]) >= symptomFor:
			e.Kind = KindDetach
			l.emit(e)
		}
	}
}

// has reports whether i has a symptom of this class that has not ended.
func (i *Incident) has(class watch.Class) bool {
	for _, s := range i.Symptoms {
		if s.Class == class && s.To.IsZero() {
			return true
		}
	}
	return false
}

// evidence returns the evidence of s.
func evidence(s watch.State) *Evidence {
	return &Evidence{
		Onset: s.Onset, Excess: s.Excess, Score: s.Score, Observed: s.Observed, Expected: s.Expected, Served: s.Users.Served(),
	}
}

// later returns the later of a and b.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
