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
	return i.append(e)
}

// append applies e to i and appends it.
func (i *Incident) append(e Event) error {
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
	i, err := opened(e)
	if err != nil {
		return err
	}
	l.add(i)
	return nil
}

// opened returns the incident that e opens.
func opened(e Event) (*Incident, error) {
	if e.Kind != KindOpen || !slices.Contains(Phases(), e.To) || !slices.Contains(watch.Classes(), e.Class) {
		return nil, fmt.Errorf("incident %q opened by %q in phase %q with class %q", e.Incident, e.Kind, e.To, e.Class)
	}
	i := &Incident{ID: e.Incident, Class: e.Class, Started: e.Time, Opened: e.Time, Changed: e.Time, Events: []Event{e}}
	if e.Evidence != nil {
		i.Peak = *e.Evidence
	}
	switch {
	case !e.Since.IsZero():
		i.Started = e.Since
	case e.Evidence != nil && !e.Evidence.Onset.IsZero(): // an event of an old version
		i.Started = e.Evidence.Onset
	}
	if i.Since = i.Started; e.By != byWatch {
		i.Quiet = e.Time // until the watch sees trouble
	}
	i.enter(e)
	return i, nil
}

// add appends i. If there are too many, it removes the oldest that was never detected, or else the oldest: those that are
// only suspected must not displace the others, however many faults an attacker causes.
func (l *Log) add(i *Incident) {
	if len(l.all) >= maxIncidents {
		oldest := max(0, slices.IndexFunc(l.all, func(i *Incident) bool { return i.Detected.IsZero() }))
		l.all = slices.Delete(l.all, oldest, oldest+1)
	}
	l.all = append(l.all, i)
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
		if slices.ContainsFunc(e.Still, func(c watch.Class) bool { return !slices.Contains(watch.Classes(), c) }) {
			return fmt.Errorf("got still %q, want some of %q", e.Still, watch.Classes())
		}
		if !slices.Contains(watch.Classes(), e.Class) && e.Class != "" {
			return fmt.Errorf("got class %q, want one of %q", e.Class, watch.Classes())
		}
		i.become(e)
		i.enter(e)
	case KindQuiet:
		i.quiet(e)
	case KindActive:
		i.Quiet = time.Time{}
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
	i.Still = e.Still
	i.Into = e.Into
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
	if e.To.Open() {
		i.Ended = time.Time{}
	}
	if e.Kind == KindReopen {
		i.Quiet = time.Time{}
		if e.To == Suspected {
			i.Symptoms, i.AckedBy, i.Held = nil, "", false
		}
	}
	if e.To.Alarming() && i.Detected.IsZero() {
		i.Detected = e.Time
	}
}

// quiet notes that the trouble is over. Of an incident that has ended, only the trouble of one class may be.
func (i *Incident) quiet(e Event) {
	if i.Phase.Open() {
		i.Quiet = e.Since
		return
	}
	i.Still = slices.DeleteFunc(slices.Clone(i.Still), func(c watch.Class) bool { return c == e.Class })
}

// become sets class and beginning of i to those of e, which may have none. As long as i is only suspected, the incident
// begins where its trouble does: an attack hours after a suspected fault has not begun with the fault. The former trouble
// becomes a symptom, unless it is over.
func (i *Incident) become(e Event) {
	former, since := i.Class, i.Since
	if e.Class != "" {
		i.Class = e.Class
	}
	own := slices.IndexFunc(i.Symptoms, func(s Symptom) bool { return s.Class == i.Class && s.To.IsZero() })
	switch {
	case !e.Since.IsZero():
		i.Since = e.Since
	case own >= 0:
		i.Since = i.Symptoms[own].From
	}
	if own >= 0 {
		i.Symptoms = slices.Delete(slices.Clone(i.Symptoms), own, own+1)
	}
	if i.Detected.IsZero() && !e.Since.IsZero() {
		i.Started = i.Since
	}
	if i.Detected.IsZero() && e.By == byWatch && !sameTrouble(former, i.Class) {
		i.AckedBy, i.Held = "", false // they were about the former trouble
	}
	said := e.Kind == KindClass && e.By != byWatch // that the former class was wrong
	if !said && i.Phase.Open() && !sameTrouble(former, i.Class) && slices.Contains(symptomClasses, former) {
		i.Symptoms = append(i.Symptoms, Symptom{Class: former, From: since})
	}
}

// classify changes the class or the symptoms of i.
func (i *Incident) classify(e Event) {
	running := slices.IndexFunc(i.Symptoms, func(s Symptom) bool { return s.Class == e.Class && s.To.IsZero() })
	switch {
	case e.Kind == KindClass:
		i.become(e)
		i.Classified = i.Classified || e.By != byWatch
	case e.Kind == KindAttach && running < 0:
		from := e.Since
		if from.IsZero() { // an event of an old version
			from = e.Time
		}
		i.Symptoms = append(i.Symptoms, Symptom{Class: e.Class, From: from})
	case e.Kind == KindDetach && running >= 0:
		i.Symptoms[running].To = e.Time
	}
}
