package report

import (
	"net/netip"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// A Form says whether a [Report] may be published.
type Form bool

// The forms.
const (
	Internal Form = false // everything
	Public   Form = true  // no addresses, no names of accounts or people, no thresholds; numbers rounded
)

// A Subject is what a [Report] is made from.
type Subject struct {
	Incident incident.Incident
	Minutes  []watch.Minute // of [Span]
	Hours    []watch.Hour   // likewise
	Location *time.Location // the time zone of the report; nil is UTC
	Service  string         // its name; empty is "the mail service"

	// Lookup finds the autonomous system an address is in, and 0 if that is unknown. It may be nil.
	Lookup func(netip.Addr) (as uint32, name string)
}

// Span returns the time that a report on i, made at time t, covers: the incident, an hour before and an hour after.
func Span(t time.Time, i *incident.Incident) (from, to time.Time) {
	to = t
	if over := i.Ended.Add(time.Hour); !i.Ended.IsZero() && over.Before(t) {
		to = over
	}
	return i.Started.Add(-time.Hour), to
}

// A Report describes one incident: what follows from the data, and a list of what people must add. Its fields
// are its JSON form. In the public form some of them are empty.
type Report struct {
	Form      Form           `json:"public"`
	ID        string         `json:"incident"`
	Class     watch.Class    `json:"class"`
	Phase     incident.Phase `json:"phase"`
	False     bool           `json:"false,omitempty"`
	StillOn   bool           `json:"still_on,omitempty"` // a person ended it, but its trouble is not over
	Service   string         `json:"service"`
	Generated time.Time      `json:"generated"`

	Times    times     `json:"times"`
	Timeline []line    `json:"timeline"`
	Volume   []HourRow `json:"volume"`
	Users    userSum   `json:"users"`
	Sources  sourceSum `json:"sources"`
	Checks   checkSum  `json:"checks"`
	Resets   resetSum  `json:"resets"`
	ToDo     []string  `json:"todo"` // what only people can write
}

// times are the milestones of an incident, zero if not reached, and the seconds between them.
type times struct {
	Started   time.Time `json:"started"`
	Since     time.Time `json:"since"` // when the trouble of the class began, or came back
	Detected  time.Time `json:"detected,omitzero"`
	Published time.Time `json:"published,omitzero"`
	Mitigated time.Time `json:"mitigated,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	ToDetect  int       `json:"to_detect_seconds,omitempty"`
	ToInform  int       `json:"to_inform_seconds,omitempty"`
	Lasted    int       `json:"lasted_seconds,omitempty"`
}

// A line is one line of a timeline.
type line struct {
	Time time.Time `json:"time"`
	By   string    `json:"by,omitempty"`
	Text string    `json:"text"`
}

// userSum counts how the known were served during the incident.
type userSum struct {
	Asked    int     `json:"asked"`
	Served   int     `json:"served"`
	Limited  int     `json:"limited"`
	Fault    int     `json:"fault"`
	Ratio    float64 `json:"ratio"`
	Promised float64 `json:"promised"`
	Greeting float64 `json:"greeting_p95_seconds"`
}

// toDo lists what people must add.
var toDo = []string{
	"The trigger, and the cause outside of postern",
	"The effect on the business: tickets, calls, users lost",
	"What went well, what went badly, what was luck",
	"Action items, each with an owner and a date",
	"An apology, and a last check of the wording",
}

// New makes the report of an incident at time t.
func New(t time.Time, s Subject, f Form) *Report {
	if s.Location == nil {
		s.Location = time.UTC
	}
	if s.Service == "" {
		s.Service = "the mail service"
	}
	i := &s.Incident
	r := &Report{
		Form: f, ID: i.ID, Class: i.Class, Phase: i.Phase, False: i.False, StillOn: i.StillOn(), Service: s.Service,
		Generated: t.In(s.Location), Times: s.times(t), Timeline: s.timeline(), Volume: s.volume(), Users: s.users(),
		Sources: s.sources(), Checks: s.checks(), Resets: s.resets(), ToDo: toDo,
	}
	if f == Public {
		s.publish(r)
	}
	return r
}

// times returns the times of the incident.
func (s *Subject) times(t time.Time) times {
	i := &s.Incident
	in := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.In(s.Location)
	}
	after := func(t time.Time) int {
		if t.IsZero() {
			return 0
		}
		return int(t.Sub(i.Started).Seconds())
	}
	end := i.Ended
	if end.IsZero() {
		end = t
	}
	return times{
		Started: in(i.Started), Since: in(i.Since), Detected: in(i.Detected), Published: in(i.Published), Mitigated: in(i.Mitigated),
		Ended: in(i.Ended), ToDetect: after(i.Detected), ToInform: after(i.Published), Lasted: after(end),
	}
}

// users returns how the known were served, from the first minute of the incident to its last.
func (s *Subject) users() userSum {
	var u watch.Users
	for _, m := range s.Minutes {
		if s.during(m.Start, time.Minute) {
			u.Add(m.Users)
		}
	}
	return userSum{
		Asked: u.Asked(), Served: u.Good + u.Slow, Limited: u.Limited, Fault: u.Fault, Ratio: u.Served(),
		Promised: watch.Promised, Greeting: u.Greeted.Quantile(0.95).Seconds(),
	}
}

// during reports whether the time of length took from t on overlaps the incident.
func (s *Subject) during(t time.Time, took time.Duration) bool {
	i := &s.Incident
	return t.Add(took).After(i.Started) && (i.Ended.IsZero() || t.Before(i.Ended))
}
