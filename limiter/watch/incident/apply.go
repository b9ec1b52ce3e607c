package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/limiter/watch"
)

// apply applies e to its incident. All changes of incidents are made here, for new events and for those that are read
// after a restart.
func (l *Log) apply(e Event) error {
	if e.Time.IsZero() || e.Incident == "" {
		return errors.New("event without time or incident")
	}
	if e.Kind == KindOpen {
		return l.applyOpen(e)
	}
	i := l.find(e.Incident)
	if i == nil {
		return fmt.Errorf("event of unknown incident %q", e.Incident)
	}
	if err := i.apply(e); err != nil {
		return err
	}
	i.Changed = e.Time
	i.Events = append(i.Events, e)
	return nil
}

// applyOpen creates an incident.
func (l *Log) applyOpen(e Event) error {
	if l.find(e.Incident) != nil {
		return fmt.Errorf("incident %q opened twice", e.Incident)
	}
	if !slices.Contains(Phases(), e.To) || !slices.Contains(watch.Classes(), e.Class) {
		return fmt.Errorf("incident %q opened in phase %q with class %q", e.Incident, e.To, e.Class)
	}
	if still := l.open(); still != nil { // its end was lost
		still.Phase, still.Ended = Resolved, e.Time
	}
	i := &Incident{ID: e.Incident, Class: e.Class, Started: e.Time, Opened: e.Time, Changed: e.Time, Events: []Event{e}}
	if e.Evidence != nil {
		i.Peak = *e.Evidence
		if !e.Evidence.Onset.IsZero() {
			i.Started = e.Evidence.Onset
		}
	}
	i.enter(e)
	l.all = append(l.all, i)
	if len(l.all) > maxIncidents {
		l.all = slices.Delete(l.all, 0, 1)
	}
	return nil
}

// apply applies e to i.
func (i *Incident) apply(e Event) error {
	if e.Evidence != nil && e.Evidence.Excess > i.Peak.Excess {
		i.Peak = *e.Evidence
	}
	switch e.Kind {
	case KindPhase, KindReopen:
		if !slices.Contains(Phases(), e.To) {
			return fmt.Errorf("got phase %q, want one of %q", e.To, Phases())
		}
		i.enter(e)
	case KindClass, KindAttach, KindDetach:
		if !slices.Contains(watch.Classes(), e.Class) {
			return fmt.Errorf("got class %q, want one of %q", e.Class, watch.Classes())
		}
		i.classify(e)
	case KindPublish:
		if i.Published.IsZero() {
			i.Published = e.Time
		}
		i.Held = false
	case KindAck:
		i.AckedBy = e.By
	case KindHold:
		i.Held = true
	case KindFalse:
		i.False = true
	case KindNote, KindEvidence:
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	return nil
}

// enter sets the phase of i to e.To.
func (i *Incident) enter(e Event) {
	i.Phase = e.To
	switch {
	case e.To == Mitigating && i.Mitigated.IsZero():
		i.Mitigated = e.Time
	case !e.To.Open():
		i.Ended = e.Time
		for k := range i.Symptoms {
			if i.Symptoms[k].To.IsZero() {
				i.Symptoms[k].To = e.Time
			}
		}
	}
	if e.To.Alarming() {
		i.Ended = time.Time{}
		if i.Detected.IsZero() {
			i.Detected = e.Time
		}
	}
}

// classify changes the class or the symptoms of i.
func (i *Incident) classify(e Event) {
	running := slices.IndexFunc(i.Symptoms, func(s Symptom) bool { return s.Class == e.Class && s.To.IsZero() })
	switch {
	case e.Kind == KindClass:
		i.Class = e.Class
		i.Classified = i.Classified || e.By != byWatch
	case e.Kind == KindAttach && running < 0:
		i.Symptoms = append(i.Symptoms, Symptom{Class: e.Class, From: e.Time})
	case e.Kind == KindDetach && running >= 0:
		i.Symptoms[running].To = e.Time
	}
}
