package incident

import (
	"fmt"
	"slices"
	"time"

	"postern/limiter/watch"
)

// A Phase is a stage of an incident. Its text is used everywhere.
type Phase string

// The phases, in their order.
const (
	Suspected     Phase = "suspected"     // perhaps an incident; no alert
	Detected      Phase = "detected"      // an incident; not public yet
	Investigating Phase = "investigating" // public
	Mitigating    Phase = "mitigating"    // the trouble continues, but users are served
	Monitoring    Phase = "monitoring"    // the trouble ended half an hour ago
	Resolved      Phase = "resolved"      // ended
	Dismissed     Phase = "dismissed"     // ended, without having been detected
)

// Phases returns every phase, in their order.
func Phases() []Phase {
	return []Phase{Suspected, Detected, Investigating, Mitigating, Monitoring, Resolved, Dismissed}
}

// Open reports whether an incident in this phase has not ended.
func (p Phase) Open() bool { return p != Resolved && p != Dismissed }

// Alarming reports whether an incident in this phase needs an alert.
func (p Phase) Alarming() bool { return p != Suspected && p.Open() }

// A Kind is the type of an [Event].
type Kind string

// The kinds. All up to active come from postern, the others from people only; people also cause open, phase, class and
// publish.
const (
	KindOpen     Kind = "open"     // created in phase To with Class
	KindPhase    Kind = "phase"    // phase From became To
	KindReopen   Kind = "reopen"   // reopened less than 2 h after the end: phase From became To
	KindClass    Kind = "class"    // the class became Class
	KindAttach   Kind = "attach"   // a symptom of class Class began
	KindDetach   Kind = "detach"   // and ended
	KindPublish  Kind = "publish"  // published, by postern or by a person
	KindEvidence Kind = "evidence" // the excess reached a new peak
	KindQuiet    Kind = "quiet"    // no trouble since Since; of an incident that has ended: none of class Class
	KindActive   Kind = "active"   // trouble again, after it was quiet
	KindAck      Kind = "ack"      // By takes care of it
	KindNote     Kind = "note"     // By added Text
	KindHold     Kind = "hold"     // By stopped automatic publishing
	KindFalse    Kind = "false"    // By said that there was no incident
)

// byWatch is the author of events that do not come from a person.
const byWatch = "postern"

// An Event is one change of an incident. All incidents are the result of their events: each event is appended as a line of
// JSON to a file, which is synced, and [Replay] restores the incidents from the lines.
type Event struct {
	Time     time.Time   `json:"time"`
	Incident string      `json:"incident"` // its ID
	Kind     Kind        `json:"kind"`
	From     Phase       `json:"from,omitempty"`
	To       Phase       `json:"to,omitempty"`
	Class    watch.Class `json:"class,omitempty"`
	By       string      `json:"by"` // postern or a person
	Text     string      `json:"text,omitempty"`
	Evidence *Evidence   `json:"evidence,omitempty"`

	// Since is when the trouble that the event is about began, or for quiet, when it was last seen. It is zero if that has
	// not changed.
	Since time.Time `json:"since,omitzero"`

	// Still has the alarming trouble that was on when a person ended the incident.
	Still []watch.Class `json:"still,omitempty"`

	// Into is the ID of the incident that continues this one, if another gateway has opened one for the same trouble.
	Into string `json:"into,omitempty"`
}

// The times that figures cover, in events, alerts, reports, on the status page and in `postern check`. Rates are over a
// shorter time, so that an alert shows the size of an attack that has just begun.
const (
	RateWindow   = time.Minute     // of rates
	ServedWindow = 5 * time.Minute // of how the known are served
)

// Over names a window in texts, such as "over 5 min".
func Over(window time.Duration) string { return fmt.Sprintf("over %.0f min", window.Minutes()) }

// Evidence has the figures of the watch at the time of an event.
type Evidence struct {
	Onset    time.Time     `json:"onset,omitzero"`
	Excess   float64       `json:"excess"`
	Score    float64       `json:"score"`
	Observed watch.Signals `json:"observed"` // a minute, over [RateWindow]
	Expected watch.Signals `json:"expected"` // likewise
	Served   float64       `json:"served"`   // share of the known, over [ServedWindow]
}

// An Incident is the result of its events. Incidents handed out are copies: changing one changes nothing.
type Incident struct {
	ID    string      `json:"id"` // the time of opening in UTC, such as 20220329-0905
	Phase Phase       `json:"phase"`
	Class watch.Class `json:"class"` // the gravest so far, or the one a person chose

	Started   time.Time `json:"started"`            // estimate of when the trouble began, of any class
	Since     time.Time `json:"since"`              // the same for the trouble of class Class, or when it came back
	Opened    time.Time `json:"opened"`             // when it was suspected
	Detected  time.Time `json:"detected,omitzero"`  // when the alert was due
	Published time.Time `json:"published,omitzero"` // when it became public
	Mitigated time.Time `json:"mitigated,omitzero"` // when users were served again
	Ended     time.Time `json:"ended,omitzero"`     // when it was resolved or dismissed
	Quiet     time.Time `json:"quiet,omitzero"`     // when trouble was last seen; zero while there is some
	Changed   time.Time `json:"changed"`            // its latest event

	Symptoms []Symptom `json:"symptoms,omitempty"` // other trouble at the same time
	Peak     Evidence  `json:"peak"`               // the greatest excess

	// Still has the trouble that was on when a person ended the incident, and has not been quiet since. It causes no alert.
	Still []watch.Class `json:"still,omitempty"`

	Into       string `json:"into,omitempty"` // ID of the incident that continues this one
	AckedBy    string `json:"acked_by,omitempty"`
	Held       bool   `json:"held,omitempty"`       // is not published automatically
	False      bool   `json:"false,omitempty"`      // a person said that there was no incident
	Classified bool   `json:"classified,omitempty"` // a person chose the class

	Events []Event `json:"events"`
}

// A Symptom is trouble of another class than that of its incident.
type Symptom struct {
	Class watch.Class `json:"class"`
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to,omitzero"` // zero as long as it continues
}

// Began returns when the trouble of this class began, which is the class of the incident or of a symptom, as far as it is
// known. Alerts, the status page, reports and `postern check` all show it.
func (i *Incident) Began(class watch.Class) time.Time {
	if class == i.Class {
		return i.Since
	}
	for _, s := range slices.Backward(i.Symptoms) {
		if s.Class == class {
			return s.From
		}
	}
	return i.Started
}

// StillOn reports whether a person has ended the incident, but its trouble is not over.
func (i *Incident) StillOn() bool { return !i.Phase.Open() && !i.False && len(i.Still) > 0 }

// endedByPerson reports whether a person has ended the incident.
func (i *Incident) endedByPerson() bool {
	for _, e := range slices.Backward(i.Events) {
		if e.Kind == KindPhase {
			return !i.Phase.Open() && e.By != byWatch
		}
	}
	return false
}

// Public reports whether the incident has been published.
func (i *Incident) Public() bool { return !i.Published.IsZero() }

// clone returns a deep copy.
func (i *Incident) clone() Incident {
	c := *i
	c.Symptoms = slices.Clone(i.Symptoms)
	c.Still = slices.Clone(i.Still)
	c.Events = slices.Clone(i.Events)
	return c
}
