package incidents

import (
	"slices"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/share"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// notification is one message about an incident that was sent to a webhook or
// published. It is saved so that nothing is sent twice after a restart, and what
// was published does not change.
type notification struct {
	Time     time.Time   `json:"time"`
	Incident string      `json:"incident"`
	To       string      `json:"to"` // publicRecipient or the name of a receiver
	Class    watch.Class `json:"class"`
	Resolved bool        `json:"over,omitempty"` // only for receivers

	// What was published.
	Stage      statuspage.Stage  `json:"stage,omitempty"`
	Impact     statuspage.Impact `json:"impact,omitempty"`
	Title      string            `json:"title,omitempty"`
	Body       string            `json:"body,omitempty"`
	NextUpdate time.Time         `json:"promised,omitzero"` // latest time of the next update, as announced
}

// publicRecipient is the recipient of updates on the status page.
const publicRecipient = "public"

// notificationsMax bounds the notifications in memory. The file keeps all.
const notificationsMax = 10_000

// recordNotification saves and shares a notification. If it cannot be saved, it is
// kept in memory until the process ends.
func (m *Manager) recordNotification(t time.Time, n notification) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.addNotification(t, n)
	m.share(share.RecordNotification, n)
}

// addNotification saves a notification at its place in the order of time, unless it
// is there. The caller holds m.writing.
func (m *Manager) addNotification(t time.Time, n notification) {
	m.mu.Lock()
	at, there := len(m.notifications), false
	for ; at > 0 && !there && !m.notifications[at-1].Time.Before(n.Time); at-- {
		there = m.notifications[at-1].same(n)
	}
	if !there {
		for at < len(m.notifications) && m.notifications[at].Time.Equal(n.Time) {
			at++
		}
		m.notifications = slices.Insert(m.notifications, at, n)
	}
	if len(m.notifications) > notificationsMax {
		m.notifications = slices.Clone(m.notifications[len(m.notifications)-notificationsMax/2:])
	}
	m.mu.Unlock()
	if !there {
		m.setResult(t, "saving notifications", appendLines(m.store, notificationsFile, true, n))
	}
}

// same reports whether n and o are the same notification.
func (n notification) same(o notification) bool {
	equal := n.Time.Equal(o.Time) && n.NextUpdate.Equal(o.NextUpdate)
	n.Time, n.NextUpdate = o.Time, o.NextUpdate
	return equal && n == o
}

// notificationsAbout returns what anybody was sent about an incident, oldest first.
func (m *Manager) notificationsAbout(incident string) (sent []notification) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notifications {
		if n.Incident == incident {
			sent = append(sent, n)
		}
	}
	return sent
}

// notificationsTo returns what a recipient was sent about an incident, oldest
// first.
func (m *Manager) notificationsTo(recipient, incident string) (sent []notification) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notifications {
		if n.To == recipient && n.Incident == incident {
			sent = append(sent, n)
		}
	}
	return sent
}

// pendingAlert is an alert that a receiver is to be sent.
type pendingAlert struct {
	class    watch.Class
	resolved bool
}

// reminderInterval is how often a webhook is reminded of an incident that nobody
// has acknowledged.
const reminderInterval = time.Hour

// pendingWebhook returns what a webhook is to be sent about an incident at time
// t, given what it was sent before: the beginning, a change of the class, a
// reminder while nobody has acknowledged it, and the end.
func pendingWebhook(t time.Time, i incident.Incident, before []notification) []pendingAlert {
	var last notification
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	firing := len(before) > 0 && !last.Resolved
	switch {
	case !i.Phase.Alarming() && firing:
		return []pendingAlert{{last.Class, true}}
	case !i.Phase.Alarming():
		return nil
	case firing && last.Class != i.Class:
		return []pendingAlert{{last.Class, true}, {i.Class, false}}
	case !firing, i.AckedBy == "" && t.Sub(last.Time) >= reminderInterval:
		return []pendingAlert{{i.Class, false}}
	}
	return nil
}

// resendInterval is how often Alertmanager is sent an incident that is open.
const resendInterval = time.Minute

// pendingAlertmanager returns what Alertmanager is to be sent about an incident
// at time t: while it is open, its class each minute; once, the end of each class
// that it no longer has.
func pendingAlertmanager(t time.Time, i incident.Incident, sent map[alertKey]time.Time) (alerts []pendingAlert) {
	for key := range sent {
		if key.incident == i.ID && (key.class != i.Class || !i.Phase.Alarming()) {
			alerts = append(alerts, pendingAlert{key.class, true})
		}
	}
	last, firing := sent[alertKey{i.ID, i.Class}]
	if i.Phase.Alarming() && (!firing || t.Sub(last) >= resendInterval) {
		alerts = append(alerts, pendingAlert{i.Class, false})
	}
	return alerts
}
