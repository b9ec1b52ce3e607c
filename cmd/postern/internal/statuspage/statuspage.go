// Package statuspage writes a public status page into a directory: index.html;
// summary.json and incidents.json in the format of Statuspage's API v2, so that
// existing clients can read them; and feed.atom with one entry per update. The
// files refer only to each other, so any web server can serve the directory, also
// from a copy on another host than the mail host.
//
// The package does not decide what is published. The caller must leave out
// addresses, account names and limits.
package statuspage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/cmd/postern/internal/atomicfile"
)

// Page is the content of the status page.
type Page struct {
	Name       string         // of the service, as its users know it
	URL        string         // where the directory is served, without a trailing slash; empty if unknown
	Checked    time.Time      // when the content was last correct
	Zone       *time.Location // time zone of index.html
	Components []Component
	Incidents  []Incident // newest first
}

// Component is a part of the service as users know it, such as IMAP.
type Component struct {
	Name  string
	State Health
}

// Health is the state of a component, in Statuspage's terms.
type Health string

// The states of a component, from best to worst.
const (
	Operational Health = "operational"
	Degraded    Health = "degraded_performance"
	Partial     Health = "partial_outage"
	Major       Health = "major_outage"
)

// Impact is how much an incident affects users, in Statuspage's terms.
type Impact string

// The impacts, from least to worst.
const (
	ImpactNone     Impact = "none"
	ImpactMinor    Impact = "minor"
	ImpactMajor    Impact = "major"
	ImpactCritical Impact = "critical"
)

// Stage is the status of an incident, in Statuspage's terms.
type Stage string

// The stages, in their usual order.
const (
	Investigating Stage = "investigating"
	Identified    Stage = "identified"
	Monitoring    Stage = "monitoring"
	Resolved      Stage = "resolved"
)

// Incident is an incident as the public sees it.
type Incident struct {
	ID         string // does not change
	Title      string
	Impact     Impact
	Started    time.Time
	NextUpdate time.Time // latest time of the next update; zero once resolved
	Updates    []Update  // newest first, never empty
}

// Update is one message about an incident. A published update does not change.
type Update struct {
	ID    string
	Stage Stage
	Body  string // plain text
	Time  time.Time
}

// Stage returns the stage of the latest update.
func (i Incident) Stage() Stage { return i.Updates[0].Stage }

// Open reports whether the incident is not resolved.
func (i Incident) Open() bool { return i.Stage() != Resolved }

// Updated returns the time of the latest update.
func (i Incident) Updated() time.Time { return i.Updates[0].Time }

// Published returns the time of the first update.
func (i Incident) Published() time.Time { return i.Updates[len(i.Updates)-1].Time }

// firstAt returns when the incident first reached a stage, or the zero time.
func (i Incident) firstAt(s Stage) (t time.Time) {
	for _, u := range i.Updates {
		if u.Stage == s {
			t = u.Time
		}
	}
	return t
}

// open returns the open incidents.
func (p Page) open() (open []Incident) {
	for _, i := range p.Incidents {
		if i.Open() {
			open = append(open, i)
		}
	}
	return open
}

// resolved returns the resolved incidents.
func (p Page) resolved() (resolved []Incident) {
	for _, i := range p.Incidents {
		if !i.Open() {
			resolved = append(resolved, i)
		}
	}
	return resolved
}

// indicator returns the worst impact of the open incidents and the components.
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

// impact returns the impact of a component in this state.
func (h Health) impact() Impact {
	return map[Health]Impact{Degraded: ImpactMinor, Partial: ImpactMajor, Major: ImpactCritical, Operational: ImpactNone}[h]
}

// headline describes the state of the service in one line.
func (p Page) headline() string {
	switch p.indicator() {
	case ImpactCritical:
		return "Mail is currently unavailable"
	case ImpactMajor:
		return "Some users currently cannot reach their mail"
	case ImpactMinor:
		return "Mail works, with delays for some"
	}
	if len(p.open()) > 0 {
		return "Mail works; we are monitoring a problem"
	}
	return "Mail works as usual"
}

// Write writes all files of p into dir, which it creates if it is missing. Each
// file is replaced atomically. Files whose content has not changed are not
// written.
func (p Page) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write status page: %w", err)
	}
	for _, f := range []struct {
		name    string
		content func() ([]byte, error)
	}{{"summary.json", p.summary}, {"incidents.json", p.history}, {"feed.atom", p.feed}, {"index.html", p.html}} {
		text, err := f.content()
		if err == nil {
			err = writeIfChanged(filepath.Join(dir, f.name), text)
		}
		if err != nil {
			return fmt.Errorf("write status page: %s: %w", f.name, err)
		}
	}
	return nil
}

// writeIfChanged replaces the file at path unless its content is text. All users
// may read it, so that a web server can.
func writeIfChanged(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return atomicfile.Write(path, text, 0o644)
}
