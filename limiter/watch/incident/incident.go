package incident

import (
	"slices"
	"time"

	"postern/limiter/watch"
)

// A Phase is a stage in the course of an incident. Its text is the word used everywhere.
type Phase string

// The phases, in their order.
const (
	Suspected     Phase = "suspected"     // something is odd; nobody is told
	Detected      Phase = "detected"      // it is an incident, and not public yet
	Investigating Phase = "investigating" // public from here on
	Mitigating    Phase = "mitigating"    // it goes on, and users are served
	Monitoring    Phase = "monitoring"    // it has been over for half an hour
	Resolved      Phase = "resolved"      // it is over
	Dismissed     Phase = "dismissed"     // it was suspected, and came to nothing
)

// Phases returns every phase, in their order.
func Phases() []Phase {
	return []Phase{Suspected, Detected, Investigating, Mitigating, Monitoring, Resolved, Dismissed}
}

// Open reports whether an incident in this phase goes on.
func (p Phase) Open() bool { return p != Resolved && p != Dismissed }

// Alarming reports whether people must be told of an incident in this phase.
func (p Phase) Alarming() bool { return p != Suspected && p.Open() }

// A Kind says what an [Event] tells.
type Kind string

// The kinds. All but the first eight are things people do.
const (
	KindOpen     Kind = "open"     // an incident begins, in phase To and with Class
	KindPhase    Kind = "phase"    // From became To
	KindReopen   Kind = "reopen"   // it was resolved less than 2 h ago: From became To
	KindClass    Kind = "class"    // Class now leads
	KindAttach   Kind = "attach"   // trouble of class Class came along
	KindDetach   Kind = "detach"   // and went
	KindPublish  Kind = "publish"  // it became public, by itself or by a person
	KindEvidence Kind = "evidence" // it reached a new height
	KindAck      Kind = "ack"      // By has taken it on
	KindNote     Kind = "note"     // By says Text
	KindHold     Kind = "hold"     // By keeps it from becoming public by itself
	KindFalse    Kind = "false"    // By says that it was none
)

// byWatch is the author of events that no person made.
const byWatch = "postern"

// An Event is one thing that happened to an incident. Everything known about incidents follows from their events: the
// caller appends each as a line of JSON to a file and syncs it, and [Replay] restores the incidents from the lines.
type Event struct {
	Time     time.Time   `json:"time"`
	Incident string      `json:"incident"` // its ID
	Kind     Kind        `json:"kind"`
	From     Phase       `json:"from,omitempty"`
	To       Phase       `json:"to,omitempty"`
	Class    watch.Class `json:"class,omitempty"`
	By       string      `json:"by"` // who did it: postern or a person
	Text     string      `json:"text,omitempty"`
	Evidence *Evidence   `json:"evidence,omitempty"`
}

// Evidence is what the watch saw at the time of an event.
type Evidence struct {
	Onset    time.Time     `json:"onset,omitzero"`
	Excess   float64       `json:"excess"`
	Score    float64       `json:"score"`
	Observed watch.Signals `json:"observed"` // a minute
	Expected watch.Signals `json:"expected"`
	Served   float64       `json:"served"` // share of the known, over 5 min
}

// An Incident is the result of its events. Incidents handed out are copies: changing one changes nothing.
type Incident struct {
	ID    string      `json:"id"` // when it was opened, in UTC, such as 20220329-0905
	Phase Phase       `json:"phase"`
	Class watch.Class `json:"class"` // of the gravest trouble that was seen in it, or what a person said it is

	Started   time.Time `json:"started"`            // when the trouble began, as far as can be told
	Opened    time.Time `json:"opened"`             // when it was suspected
	Detected  time.Time `json:"detected,omitzero"`  // when it became one to tell people of
	Published time.Time `json:"published,omitzero"` // when it became public
	Mitigated time.Time `json:"mitigated,omitzero"` // when users were served again
	Ended     time.Time `json:"ended,omitzero"`     // when it was resolved or dismissed
	Changed   time.Time `json:"changed"`            // its latest event

	Symptoms []Symptom `json:"symptoms,omitempty"` // trouble that came along
	Peak     Evidence  `json:"peak"`               // the greatest excess

	AckedBy    string `json:"acked_by,omitempty"`
	Held       bool   `json:"held,omitempty"`       // does not become public by itself
	False      bool   `json:"false,omitempty"`      // a person said that it was none
	Classified bool   `json:"classified,omitempty"` // a person said what it is

	Events []Event `json:"events"`
}

// A Symptom is trouble attached to an incident that another class leads.
type Symptom struct {
	Class watch.Class `json:"class"`
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to,omitzero"` // zero as long as it goes on
}

// Public reports whether the incident has been published.
func (i *Incident) Public() bool { return !i.Published.IsZero() }

// clone returns a deep copy.
func (i *Incident) clone() Incident {
	c := *i
	c.Symptoms = slices.Clone(i.Symptoms)
	c.Events = slices.Clone(i.Events)
	return c
}
