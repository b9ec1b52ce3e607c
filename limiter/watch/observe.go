package watch

import (
	"slices"
	"time"
)

// How incidents go on by themselves.
const (
	deniedFor    = 3 * time.Minute  // that the known are denied before people are told
	servedFor    = 5 * time.Minute  // that users are served before it counts as mitigated
	servedWell   = 0.99             // of the known
	quietFor     = 30 * time.Minute // before a suspicion is dismissed, or trouble other than an attack is only monitored
	cleanFor     = 60 * time.Minute // before what is monitored is resolved
	reopenFor    = 2 * time.Hour    // after it was resolved
	symptomFor   = 10 * time.Minute // that a symptom must be gone
	evidenceEach = 10 * time.Minute
	evidenceMore = 1.25 // times the peak, to be noted
)

// Observe tells of the state at the end of a tick, each once, and returns the events that it makes, mostly none. The caller writes
// them down before it tells anybody.
func (n *Incidents) Observe(s State) []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.Time.IsZero() || !slices.Contains(Classes(), s.Class) { // of no tick
		return nil
	}
	n.mark(s)
	i := n.open()
	switch {
	case i == nil:
		n.begin(s)
	case i.Phase == Suspected:
		n.lead(s, i)
		n.suspect(s, i)
	default:
		n.lead(s, i)
		n.attach(s, i)
		n.follow(s, i)
	}
	return n.flush()
}

// mark notes when there was trouble of each degree.
func (n *Incidents) mark(s State) {
	t := s.Time
	if !s.AuthFault {
		n.denied = time.Time{}
	} else if n.denied.IsZero() {
		n.denied = t
	}
	if n.unwell.IsZero() || s.Users.Served() < servedWell || s.AuthFault {
		n.unwell = t
	}
	if s.Tighten || s.BackendFault || s.AuthFault || s.Impaired {
		n.bad = t
	}
	if n.alarming(s) {
		n.alarm = t
	} else {
		n.spoken = false
	}
}

// alarming says whether people are to be told of s.
func (n *Incidents) alarming(s State) bool {
	return s.Attacked() || s.Impaired || s.AuthFault && s.Time.Sub(n.denied) >= deniedFor
}

// begin opens an incident if there is reason to, or the latest one again.
func (n *Incidents) begin(s State) {
	ended := n.latest(func(i *Incident) bool { return i.Phase == Resolved && !i.False && s.Time.Sub(i.Ended) < reopenFor })
	alarming := n.alarm.Equal(s.Time)
	switch {
	case n.spoken:
	case alarming && ended != nil:
		n.emit(Event{
			Time: s.Time, Incident: ended.ID, Kind: KindReopen, From: Resolved, To: Investigating, By: ByWatch, Evidence: evidence(s),
		})
	case alarming:
		n.emit(n.opening(s, Detected))
	case n.bad.Equal(s.Time) && ended == nil:
		n.emit(n.opening(s, Suspected))
	}
}

// opening returns the event of an incident that begins in phase p.
func (n *Incidents) opening(s State, p Phase) Event {
	return Event{
		Time: s.Time, Incident: n.newID(s.Time), Kind: KindOpen, To: p, Class: s.Class, By: ByWatch, Evidence: evidence(s),
	}
}

// lead lets graver trouble lead i, unless a person has said what i is. Milder trouble never does: it hid the attack once.
func (n *Incidents) lead(s State, i *Incident) {
	if i.Classified || graver(i.Class, s.Class) == i.Class {
		return
	}
	if !n.bad.Equal(s.Time) { // a storm alone is no trouble
		return
	}
	n.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindClass, Class: s.Class, By: ByWatch, Evidence: evidence(s)})
}

// suspect decides about a suspicion.
func (n *Incidents) suspect(s State, i *Incident) {
	switch {
	case n.alarm.Equal(s.Time):
		n.enter(s, i, Detected)
	case s.Time.Sub(later(n.bad, i.Opened)) >= quietFor:
		n.enter(s, i, Dismissed)
	}
}

// follow takes an incident that people know of further.
func (n *Incidents) follow(s State, i *Incident) {
	t := s.Time
	if !i.Public() && !i.Held && t.Sub(i.Detected) >= n.hold {
		n.emit(Event{Time: t, Incident: i.ID, Kind: KindPublish, By: ByWatch})
		if i.Phase == Detected {
			n.enter(s, i, Investigating)
		}
	}
	if t.Sub(i.Changed) >= evidenceEach && s.Excess > evidenceMore*i.Peak.Excess {
		n.emit(Event{Time: t, Incident: i.ID, Kind: KindEvidence, By: ByWatch, Evidence: evidence(s)})
	}
	switch i.Phase {
	case Detected, Investigating:
		if n.over(s, i) {
			n.enter(s, i, Monitoring)
		} else if n.mitigated(s, i) {
			n.enter(s, i, Mitigating)
		}
	case Mitigating:
		if n.over(s, i) {
			n.enter(s, i, Monitoring)
		}
	case Monitoring:
		if n.alarm.Equal(t) {
			n.enter(s, i, Mitigating)
		} else if t.Sub(later(n.alarm, i.entered())) >= cleanFor {
			n.enter(s, i, Resolved)
		}
	}
}

// mitigated says whether users have been served for a while, in spite of the trouble.
func (n *Incidents) mitigated(s State, i *Incident) bool {
	return (s.Protecting || i.Class != ClassAttack) && s.Time.Sub(later(n.unwell, i.entered())) >= servedFor
}

// over says whether the trouble is. The watch itself waits for half an hour until it calls an attack over.
func (n *Incidents) over(s State, i *Incident) bool {
	if n.alarm.Equal(s.Time) || s.BackendFault || s.AuthFault {
		return false
	}
	return i.Class == ClassAttack && !n.alarm.IsZero() || s.Time.Sub(later(n.bad, i.entered())) >= quietFor
}

// entered is when i came to its phase.
func (i *Incident) entered() time.Time {
	for k := len(i.Events) - 1; k > 0; k-- {
		if e := &i.Events[k]; e.Kind == KindPhase || e.Kind == KindReopen {
			return e.Time
		}
	}
	return i.Opened
}

// enter takes i to phase p.
func (n *Incidents) enter(s State, i *Incident, p Phase) {
	n.emit(Event{Time: s.Time, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: p, By: ByWatch, Evidence: evidence(s)})
}

// attach notes what comes along with i, and when it is gone.
func (n *Incidents) attach(s State, i *Incident) {
	for _, symptom := range []struct {
		class Class
		there bool
	}{
		{ClassAttack, s.Attacked()},
		{ClassAuthFault, s.AuthFault},
		{ClassBackendFault, s.BackendFault},
		{ClassStorm, s.Storm},
	} {
		if symptom.there {
			n.seen[symptom.class] = s.Time
		}
		running := i.has(symptom.class)
		e := Event{Time: s.Time, Incident: i.ID, Kind: KindAttach, Class: symptom.class, By: ByWatch}
		switch {
		case symptom.class == i.Class:
		case symptom.there && !running:
			e.Evidence = evidence(s)
			n.emit(e)
		case running && s.Time.Sub(n.seen[symptom.class]) >= symptomFor:
			e.Kind = KindDetach
			n.emit(e)
		}
	}
}

// has says whether a symptom of this class goes on.
func (i *Incident) has(class Class) bool {
	for _, s := range i.Symptoms {
		if s.Class == class && s.To.IsZero() {
			return true
		}
	}
	return false
}

// evidence is what s shows.
func evidence(s State) *Evidence {
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
