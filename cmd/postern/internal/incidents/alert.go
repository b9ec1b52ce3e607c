package incidents

import (
	"fmt"
	"time"

	"postern/cmd/postern/internal/notify"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// alertName is the label alertname of every alert. The label class says what it
// is about, so that a change of the class is a new alert.
const alertName = "PosternIncident"

// alertOf returns the alert for p, which is about i: labels that stay the same
// while the class does, and annotations with the current figures. Without an end
// of the incident, a resolved alert ends at time t.
func (m *Manager) alertOf(t time.Time, i incident.Incident, p pendingAlert, s watch.State) notify.Alert {
	a := notify.Alert{
		Labels: map[string]string{
			"alertname": alertName, "service": "postern", "instance": m.config.Host, "severity": "page",
			"class": string(p.class), "incident": i.ID,
		},
		Annotations: map[string]string{
			"summary":     m.summary(i, p.class, s),
			"description": advice(p.class) + " `postern incident ack` stops the reminders; `postern report` prints the report so far.",
		},
		Starts: i.Started,
	}
	if p.resolved {
		a.Ends = i.Ended
		if a.Ends.IsZero() {
			a.Ends = t
		}
	}
	return a
}

// summary describes an incident in one line: what it is, since when, how large,
// and how many users are served.
func (m *Manager) summary(i incident.Incident, class watch.Class, s watch.State) string {
	zone := m.config.Location
	if !i.Phase.Open() {
		return fmt.Sprintf("%s is over. It began at %s and ended at %s.",
			capitalize(className(class)), formatTime(i.Ended, i.Started, zone), formatTime(i.Ended, i.Ended, zone))
	}
	text := fmt.Sprintf("%s since %s: %.0f logins a minute (expected: %.0f), %.0f of them from strangers with wrong passwords.",
		capitalize(className(class)), formatTime(s.Time, i.Started, zone), s.Observed.Logins, s.Expected.Logins, s.Observed.Suspects)
	if served, of := servedShare(class, s.Users); of > 0 {
		text += fmt.Sprintf(" Known users: %.1f %% served.", 100*served)
	}
	for _, symptom := range i.Symptoms {
		if symptom.To.IsZero() {
			text += fmt.Sprintf(" Also %s since %s.", className(symptom.Class), formatTime(s.Time, symptom.From, zone))
		}
	}
	return text
}

// className is the name of a class in alerts and logs.
func className(c watch.Class) string {
	switch c {
	case watch.ClassAttack:
		return "attack on logins"
	case watch.ClassAuthFault:
		return "correct passwords refused"
	case watch.ClassBackendFault:
		return "backends failing logins"
	case watch.ClassStorm:
		return "reconnect storm"
	case watch.ClassSingleSource:
		return "excess logins from few networks"
	}
	return "login problem"
}

// advice says what to do first about an incident of a class.
func advice(c watch.Class) string {
	switch c {
	case watch.ClassAttack:
		return "postern limits strangers automatically; do not restart Dovecot. Check whether known users are served."
	case watch.ClassAuthFault:
		return "Known users are denied although their passwords are correct: check the password database, not postern."
	case watch.ClassBackendFault:
		return "Check the backends: the metric postern_backend_up and their logs."
	case watch.ClassStorm:
		return "Many sessions were lost at once and their clients are reconnecting: find out what interrupted them."
	}
	return "`postern incident show` prints what was detected or reported."
}
