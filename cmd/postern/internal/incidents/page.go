package incidents

import (
	"slices"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch/incident"
)

// incidentsShown is how many incidents the public's page goes back.
const incidentsShown = 20

// publish says what is to be said at time t and writes the page.
func (l *Lookout) publish(t time.Time) {
	if l.config.StatusDir == "" {
		return
	}
	users := l.State().Users
	for _, i := range l.incidents.All() {
		if next, due := nextUpdate(t, i, users, l.toldTo(public, i.ID), l.config.Location); due {
			l.record(t, next)
		}
	}
	err := l.page(t).Write(l.config.StatusDir)
	l.mu.Lock()
	l.stats.Published.count(err)
	if err == nil {
		l.stats.Written = t
	}
	l.mu.Unlock()
	l.note(t, "writing the status page", err)
}

// page is what the public is told at time t. It says that it was checked in
// this minute, so that it changes once a minute at most when nothing happens.
func (l *Lookout) page(t time.Time) statuspage.Page {
	p := statuspage.Page{Name: l.config.Name, URL: l.config.URL, Checked: t.Truncate(time.Minute), Zone: l.config.Location}
	trouble := statuspage.ImpactNone
	for _, i := range l.incidents.All() {
		said := l.toldTo(public, i.ID)
		if len(said) == 0 || len(p.Incidents) == incidentsShown {
			continue
		}
		shown := shownAs(i, said)
		p.Incidents = append(p.Incidents, shown)
		if shown.Open() && worse(shown.Impact, trouble) {
			trouble = shown.Impact
		}
	}
	for _, part := range l.config.Parts() {
		p.Components = append(p.Components, statuspage.Component{Name: part.Name, State: part.health(trouble)})
	}
	return p
}

// shownAs gives an incident the public's form: how bad it is now, or, once it
// is over, how bad it was.
func shownAs(i incident.Incident, said []told) statuspage.Incident {
	last := said[len(said)-1]
	shown := statuspage.Incident{ID: i.ID, Title: last.Title, Impact: last.Impact, Started: i.Started, Promised: last.Promised}
	for _, s := range said {
		if last.Stage == statuspage.Resolved && worse(s.Impact, shown.Impact) {
			shown.Impact = s.Impact
		}
		shown.Updates = append(shown.Updates, statuspage.Update{ID: s.Time.UTC().Format("20060102T150405.000Z"), Stage: s.Stage, Body: s.Body, Time: s.Time})
	}
	slices.Reverse(shown.Updates)
	return shown
}
