package incident

import (
	"slices"
	"time"

	"postern/limiter/watch"
)

// When incidents change by themselves.
const (
	servedFor    = 5 * time.Minute  // that users are served before it counts as mitigated
	servedWell   = 0.99             // of the known
	suspectedFor = time.Minute      // of quiet before a suspected incident is dismissed: the watch has waited for some minutes
	suspectAgain = 30 * time.Minute // after it was dismissed, in which it is reopened
	quietFor     = 30 * time.Minute // before an incident other than an attack is only monitored
	quietNoted   = 2 * time.Minute  // before an event says that it is quiet
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
	l.note(s)
	l.reconcile(s.Time)
	l.endIgnored(s)
	i := l.open()
	if i == nil {
		l.begin(s)
		return l.flush()
	}
	l.updateClass(s, i)
	l.attach(s, i)
	if i.Phase == Suspected {
		l.updateSuspected(s, i)
	} else {
		l.updateQuiet(s, i)
		l.updatePhase(s, i)
	}
	return l.flush()
}

// begin opens an incident, or reopens the latest, if s is a reason to.
func (l *Log) begin(s watch.State) {
	ignored := l.ignored()
	urgent := slices.ContainsFunc(l.alarms, func(c watch.Class) bool { return !slices.Contains(ignored, c) })
	last := l.newest(func(i *Incident) bool { return !i.False && (!urgent || i.Phase == Resolved) })
	within := func(d time.Duration) bool { return last != nil && s.Time.Sub(last.Ended) < d }
	switch {
	case urgent && within(reopenFor):
		l.reopen(s, last, Investigating)
	case urgent:
		l.emit(l.opening(s, Detected))
	case !l.trouble.Equal(s.Time), len(ignored) > 0:
	case within(reopenFor) && (last.Phase == Resolved || last.endedByPerson()):
	case within(suspectAgain):
		l.reopen(s, last, Suspected)
	default:
		l.emit(l.opening(s, Suspected))
	}
}

// opening returns the event of an incident that begins in phase p.
func (l *Log) opening(s watch.State, p Phase) Event {
	return Event{
		Time: s.Time, Incident: l.newID(s.Time), Kind: KindOpen, To: p, Class: s.Class, By: byWatch,
		Since: l.beginning(s, s.Class), Evidence: l.evidence(s),
	}
}

// reopen reopens i in phase p. A graver class than that of s remains if i was detected.
func (l *Log) reopen(s watch.State, i *Incident, p Phase) {
	e := l.opening(s, p)
	e.Incident, e.Kind, e.From = i.ID, KindReopen, i.Phase
	if p != Suspected {
		e.Class = watch.Graver(i.Class, s.Class)
	}
	if i.Classified {
		e.Class = i.Class
	}
	l.emit(e)
}

// updateClass gives i the class of s if that is graver. A milder class never replaces a graver one: in 2022 failing
// backends hid the attack. Only while i is suspected, what is on replaces what is over. If a person has classified i, only
// trouble that it did not have before changes that, because the person did not know it.
func (l *Log) updateClass(s watch.State, i *Incident) {
	if i.Classified && i.had(s.Class) || s.Class == i.Class || !l.trouble.Equal(s.Time) || s.Class == watch.ClassStorm {
		return
	}
	graver := watch.Graver(i.Class, s.Class) != i.Class
	if !graver && (i.Phase != Suspected || !l.onSince(s.Time, i.Class).IsZero() || !slices.Contains(troubles(s), s.Class)) {
		return
	}
	e := Event{Time: s.Time, Incident: i.ID, Kind: KindClass, Class: s.Class, By: byWatch, Evidence: l.evidence(s)}
	if e.Since = l.beginning(s, s.Class); sameTrouble(i.Class, s.Class) && e.Since.Before(i.Since) {
		e.Since = i.Since
	}
	l.emit(e)
}

// had reports whether i, or a symptom of it, has been of this class or of a degree of it.
func (i *Incident) had(class watch.Class) bool {
	return slices.ContainsFunc(i.Events, func(e Event) bool { return e.Class != "" && sameTrouble(e.Class, class) })
}

// updateSuspected decides whether the suspected incident i is detected or dismissed.
func (l *Log) updateSuspected(s watch.State, i *Incident) {
	switch {
	case l.alarm.Equal(s.Time):
		l.enter(s, i, Detected)
	case l.observed(s.Time) && s.Time.Sub(later(l.lastTrouble(i), i.entered())) >= suspectedFor:
		l.enter(s, i, Dismissed)
	}
}

// updateQuiet notes when the trouble of i is over or back, so that it is known after a restart.
func (l *Log) updateQuiet(s watch.State, i *Incident) {
	e := Event{Time: s.Time, Incident: i.ID, By: byWatch}
	switch last := l.lastTrouble(i); {
	case !i.Quiet.IsZero() && l.trouble.Equal(s.Time):
		e.Kind = KindActive
		l.emit(e)
	case i.Quiet.IsZero() && s.Time.Sub(last) >= quietNoted && l.observed(s.Time):
		e.Kind, e.Since = KindQuiet, last
		l.emit(e)
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
		l.emit(Event{Time: t, Incident: i.ID, Kind: KindEvidence, By: byWatch, Evidence: l.evidence(s)})
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
		} else if l.observed(t) && t.Sub(later(l.alarm, i.entered())) >= cleanFor {
			l.enter(s, i, Resolved)
		}
	}
}

// mitigated reports whether users have been served for a while although the trouble continues.
func (l *Log) mitigated(s watch.State, i *Incident) bool {
	return (s.Protecting || i.Class != watch.ClassAttack) && s.Time.Sub(later(l.notServed, i.entered())) >= servedFor
}

// over reports whether the trouble is over. For attacks that it has seen the watch has already waited for half an hour.
func (l *Log) over(s watch.State, i *Incident) bool {
	if l.alarm.Equal(s.Time) || s.BackendFault || s.AuthFault || !l.observed(s.Time) {
		return false
	}
	if i.Class == watch.ClassAttack && l.spells[watch.ClassAttack].last.After(i.Since) {
		return true
	}
	wait := quietFor
	if slow(i.Class) {
		wait = calmSlow
	}
	return s.Time.Sub(later(l.lastTrouble(i), i.entered())) >= wait
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
	l.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: p, By: byWatch, Evidence: l.evidence(s)})
}

// attach adds symptoms to i, and ends them.
func (l *Log) attach(s watch.State, i *Incident) {
	present := troubles(s)
	for _, class := range symptomClasses {
		there, running := slices.Contains(present, class), i.has(class)
		e := Event{Time: s.Time, Incident: i.ID, Kind: KindAttach, Class: class, By: byWatch}
		switch {
		case class == i.Class:
		case there && !running:
			e.Since, e.Evidence = l.beginning(s, class), l.evidence(s)
			l.emit(e)
		case running && s.Time.Sub(later(l.spells[class].last, l.first)) >= symptomFor:
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
