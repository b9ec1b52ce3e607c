package watch

import (
	"net/netip"
	"time"
)

// A Form says for whose eyes a [Report] is.
type Form bool

// The forms.
const (
	Internal Form = false // all that is known
	Public   Form = true  // no addresses, no names of accounts or people, no thresholds; numbers rounded
)

// A Subject is what a [Report] is about and drawn from.
type Subject struct {
	Incident Incident
	Minutes  []Minute // of the incident, an hour before and one after; see History
	Hours    []Hour
	Location *time.Location                            // whose time is told; nil is UTC
	Lookup   func(netip.Addr) (as uint32, name string) // of the autonomous system an address is in, 0 if unknown; may be nil
	Service  string                                    // what its users call it; empty is "the mail service"
}

// A Report is the story of one incident: what the data tell, and marks where people have to.
type Report struct {
	Form      Form      `json:"public"`
	ID        string    `json:"incident"`
	Generated time.Time `json:"generated"`
}

// NewReport draws up the report at time t.
func NewReport(t time.Time, s Subject, f Form) *Report {
	return &Report{Form: f, ID: s.Incident.ID, Generated: t}
}

// Markdown renders it. The Report itself is the JSON form.
func (r *Report) Markdown() []byte {
	return []byte("# Report on incident " + r.ID + "\n")
}
