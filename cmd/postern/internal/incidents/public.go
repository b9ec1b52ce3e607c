package incidents

import (
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// incidentsShown is how many incidents the status page shows.
const incidentsShown = 20

// publish adds the updates that are due at time t and writes the status page.
func (m *Manager) publish(t time.Time) {
	if m.config.StatusDir == "" {
		return
	}
	if !m.Leads() {
		m.clearFailure(writingPage)
		m.mu.Lock()
		m.stats.Written = time.Time{} // of a page that the leader writes now
		m.mu.Unlock()
		return
	}
	users := m.State().Users
	for _, i := range m.incidents.All() {
		if next, due := nextUpdate(t, i, users, m.notificationsTo(publicRecipient, i.ID), m.config.Location); due {
			m.recordNotification(t, next)
		}
	}
	err := m.page(t).Write(m.config.StatusDir)
	m.mu.Lock()
	m.stats.Published.count(err)
	if err == nil {
		m.stats.Written = t
	}
	m.mu.Unlock()
	m.setResult(t, writingPage, err)
}

// writingPage is the operation of writing the status page.
const writingPage = "writing the status page"

// page returns the status page at time t. Its time is rounded down to the minute,
// so that it changes at most once a minute when nothing happens.
func (m *Manager) page(t time.Time) statuspage.Page {
	p := statuspage.Page{Name: m.config.Name, URL: m.config.URL, Checked: t.Truncate(time.Minute), Zone: m.config.Location}
	worst := statuspage.ImpactNone
	for _, i := range m.incidents.All() {
		updates := m.notificationsTo(publicRecipient, i.ID)
		if len(updates) == 0 || len(p.Incidents) == incidentsShown {
			continue
		}
		shown := publicIncident(i, updates)
		p.Incidents = append(p.Incidents, shown)
		if shown.Open() && worse(shown.Impact, worst) {
			worst = shown.Impact
		}
	}
	for _, c := range m.config.Components() {
		p.Components = append(p.Components, statuspage.Component{Name: c.Name, State: c.health(worst)})
	}
	return p
}

// health is the state of a component on the status page. impact is the worst one
// of all open incidents.
func (c Component) health(impact statuspage.Impact) statuspage.Health {
	if c.Down {
		return statuspage.Major
	}
	return map[statuspage.Impact]statuspage.Health{
		statuspage.ImpactNone: statuspage.Operational, statuspage.ImpactMinor: statuspage.Degraded,
		statuspage.ImpactMajor: statuspage.Partial, statuspage.ImpactCritical: statuspage.Major,
	}[impact]
}

// publicIncident returns an incident with its published updates. The impact of an
// open incident is the latest one, that of a resolved one the worst. An open one is
// shown with the beginning of what its updates are about now.
func publicIncident(i incident.Incident, updates []notification) statuspage.Incident {
	last := updates[len(updates)-1]
	shown := statuspage.Incident{ID: i.ID, Title: last.Title, Impact: last.Impact, Started: i.Started, NextUpdate: last.NextUpdate}
	if last.Stage != statuspage.Resolved {
		shown.Started = i.Since
	}
	for _, u := range updates {
		if last.Stage == statuspage.Resolved && worse(u.Impact, shown.Impact) {
			shown.Impact = u.Impact
		}
		shown.Updates = append(shown.Updates, statuspage.Update{ID: u.Time.UTC().Format("20060102T150405.000Z"), Stage: u.Stage, Body: u.Body, Time: u.Time})
	}
	slices.Reverse(shown.Updates)
	return shown
}

// updateInterval is the longest time between updates on an open incident, as
// announced in each. The next one is published updateMargin early, so that it is
// never late.
const (
	updateInterval = 30 * time.Minute
	updateMargin   = time.Minute
)

// nextUpdate returns the update to publish about an incident at time t, if one is
// due. before are the updates so far. An update is due when the incident becomes
// public, when its stage or class changes, when its impact gets worse, when an
// operator has written one, and when the announced time has come.
func nextUpdate(t time.Time, i incident.Incident, u watch.Users, before []notification, zone *time.Location) (notification, bool) {
	next := notification{Time: t, Incident: i.ID, To: publicRecipient, Class: i.Class, Stage: stageOf(i), Impact: impactOf(i.Class, u)}
	if i.Phase == incident.Monitoring || next.Stage == statuspage.Resolved {
		next.Impact = statuspage.ImpactNone
	}
	var last notification
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	texts := operatorTexts(i, last.Time)
	switch {
	case !i.Public():
		return notification{}, false
	case len(before) == 0, next.Stage != last.Stage, next.Class != last.Class, len(texts) > 0:
	case next.Stage == statuspage.Resolved:
		return notification{}, false
	case worse(next.Impact, last.Impact), !t.Before(last.NextUpdate.Add(-updateMargin)):
	default:
		return notification{}, false
	}
	next.Title = publicTextOf(i.Class).title
	next.Body = strings.Join(texts, "\n")
	if next.Body == "" {
		next.Body = updateText(i, next, len(before) > 0 && last.Stage == next.Stage, zone)
	}
	if next.Stage != statuspage.Resolved {
		next.NextUpdate = t.Add(updateInterval)
		next.Body += " Next update by " + formatTime(t, next.NextUpdate, zone) + "."
	}
	return next, true
}

// operatorTexts returns the texts that operators have published after a time.
func operatorTexts(i incident.Incident, after time.Time) (texts []string) {
	for _, e := range i.Events {
		if e.Kind == incident.KindPublish && e.Text != "" && e.Time.After(after) {
			texts = append(texts, strings.TrimSpace(e.Text))
		}
	}
	return texts
}

// stageOf is the stage that the status page shows for an incident. One that an
// operator has closed is not shown as resolved before its trouble is over.
func stageOf(i incident.Incident) statuspage.Stage {
	if i.StillOn() {
		return statuspage.Monitoring
	}
	switch i.Phase {
	case incident.Mitigating:
		return statuspage.Identified
	case incident.Monitoring:
		return statuspage.Monitoring
	case incident.Resolved, incident.Dismissed:
		return statuspage.Resolved
	}
	return statuspage.Investigating
}

// minAttempts is how many attempts by known users it takes for their served share
// to be significant.
const minAttempts = 20

// impactOf returns how much known users are affected, in four levels only: the
// public must learn whether they are affected, and attackers must not learn how
// successful they are. With too few attempts it is the usual impact of the class.
func impactOf(class watch.Class, u watch.Users) statuspage.Impact {
	served, attempts := servedShare(class, u)
	switch {
	case attempts < minAttempts && slices.Contains([]watch.Class{watch.ClassAttack, watch.ClassSlowSpray, watch.ClassAccountAbuse}, class):
		return statuspage.ImpactNone
	case attempts < minAttempts || served >= .95 && served < .99:
		return statuspage.ImpactMinor
	case served >= .99:
		return statuspage.ImpactNone
	case served >= .5:
		return statuspage.ImpactMajor
	}
	return statuspage.ImpactCritical
}

// servedShare returns the share of known users' attempts that were served, and
// their number. Denied attempts count only while correct passwords are refused.
func servedShare(class watch.Class, u watch.Users) (share float64, attempts int) {
	if class != watch.ClassAuthFault {
		return u.Served(), u.Asked()
	}
	attempts = u.Asked() + u.Denied
	if attempts == 0 {
		return 1, 0
	}
	return float64(u.Good+u.Slow) / float64(attempts), attempts
}

// worse reports whether impact a is worse than b.
func worse(a, b statuspage.Impact) bool {
	order := map[statuspage.Impact]int{statuspage.ImpactNone: 0, statuspage.ImpactMinor: 1, statuspage.ImpactMajor: 2, statuspage.ImpactCritical: 3}
	return order[a] > order[b]
}
