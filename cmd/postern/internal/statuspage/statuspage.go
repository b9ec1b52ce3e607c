// Package status writes what the public may know about the service into a
// folder: summary.json and incidents.json in the shape of Statuspage's API v2,
// so that what reads those reads these; feed.atom with one entry for every
// update; and index.html. The files need nothing but each other, so the folder
// can be served by any web server or copied to a host that is not the mail
// host.
//
// Nothing here decides what is said: whoever fills in a Page answers for it,
// and must leave out addresses, names of accounts and limits.
package statuspage

import "time"

// Page is all that the public is told at one moment.
type Page struct {
	Name       string         // of the service, as its users know it
	URL        string         // where the folder is served, without a slash at its end; empty if unknown
	Checked    time.Time      // when this was last known to be true
	Zone       *time.Location // of the times in texts for people
	Components []Component
	Incidents  []Incident // the newest first
}

// Component is a part of the service that users can tell apart.
type Component struct {
	Name  string
	State Health
}

// Health is how well a component works, in Statuspage's words.
type Health string

// The healths, from good to bad.
const (
	Operational Health = "operational"
	Degraded    Health = "degraded_performance"
	Partial     Health = "partial_outage"
	Major       Health = "major_outage"
)

// Impact is how much users notice of an incident, in Statuspage's words.
type Impact string

// The impacts, from small to great.
const (
	ImpactNone     Impact = "none"
	ImpactMinor    Impact = "minor"
	ImpactMajor    Impact = "major"
	ImpactCritical Impact = "critical"
)

// Stage is how far an incident has come, in Statuspage's words.
type Stage string

// The stages, in their order.
const (
	Investigating Stage = "investigating"
	Identified    Stage = "identified"
	Monitoring    Stage = "monitoring"
	Resolved      Stage = "resolved"
)

// Incident is one stretch of trouble, as told to the public.
type Incident struct {
	ID       string // stays the same from the first update to the last
	Title    string
	Impact   Impact
	Started  time.Time
	Promised time.Time // when the next update comes at the latest; zero once resolved
	Updates  []Update  // the newest first, never empty
}

// Update is one thing said about an incident. What has been said is not
// changed.
type Update struct {
	ID    string
	Stage Stage
	Body  string // plain text
	Time  time.Time
}

// Stage is how far the incident has come.
func (i Incident) Stage() Stage { return i.Updates[0].Stage }

// Open reports whether the incident goes on.
func (i Incident) Open() bool { return i.Stage() != Resolved }

// Updated is when something was last said about the incident.
func (i Incident) Updated() time.Time { return i.Updates[0].Time }

// Published is when something was first said about the incident.
func (i Incident) Published() time.Time { return i.Updates[len(i.Updates)-1].Time }

// reached is when the incident came to a stage for the first time, or zero.
func (i Incident) reached(s Stage) (t time.Time) {
	for _, u := range i.Updates {
		if u.Stage == s {
			t = u.Time
		}
	}
	return t
}

// open returns the incidents that go on.
func (p Page) open() (open []Incident) {
	for _, i := range p.Incidents {
		if i.Open() {
			open = append(open, i)
		}
	}
	return open
}

// past returns the incidents that are over.
func (p Page) past() (past []Incident) {
	for _, i := range p.Incidents {
		if !i.Open() {
			past = append(past, i)
		}
	}
	return past
}

// indicator is the worst impact of what goes on. An open incident without
// impact is still worth a look.
func (p Page) indicator() Impact {
	worst := ImpactNone
	order := map[Impact]int{ImpactNone: 0, ImpactMinor: 1, ImpactMajor: 2, ImpactCritical: 3}
	for _, i := range p.open() {
		if order[i.Impact] > order[worst] {
			worst = i.Impact
		}
	}
	for _, c := range p.Components {
		if impact := c.State.impact(); order[impact] > order[worst] {
			worst = impact
		}
	}
	return worst
}

// impact is what users notice of a component in this state.
func (h Health) impact() Impact {
	return map[Health]Impact{Degraded: ImpactMinor, Partial: ImpactMajor, Major: ImpactCritical, Operational: ImpactNone}[h]
}

// headline says in one line how things are.
func (p Page) headline() string {
	switch p.indicator() {
	case ImpactCritical:
		return "Mail cannot be reached at the moment"
	case ImpactMajor:
		return "Mail can be reached by some only"
	case ImpactMinor:
		return "Mail works, with delays for some"
	}
	if len(p.open()) > 0 {
		return "Mail works; we are watching something"
	}
	return "Mail works as usual"
}
