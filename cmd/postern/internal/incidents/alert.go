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
func (m *Manager) alertOf(t time.Time, i incident.Incident, p pendingAlert) notify.Alert {
	a := notify.Alert{
		Labels: map[string]string{
			"alertname": alertName, "service": "postern", "instance": m.config.Host, "severity": "page",
			"class": string(p.class), "incident": i.ID,
		},
		Annotations: map[string]string{
			"summary":     m.summary(t, i, p.class),
			"description": advice(p.class) + " `postern incident ack` stops the reminders; `postern report` prints the report so far.",
		},
		Starts: i.Started,
	}
	if m.config.Share != nil { // all gateways send the same alert
		delete(a.Labels, "instance")
		a.Annotations["gateway"] = m.config.Host
	}
	if p.resolved {
		a.Ends = i.Ended
		if a.Ends.IsZero() {
			a.Ends = t
		}
	}
	return a
}

// summary describes an incident in one line at time t: what it is, since when,
// how large, and how many users are served.
func (m *Manager) summary(t time.Time, i incident.Incident, class watch.Class) string {
	zone, name := m.config.Location, capitalize(className(class))
	began := formatTime(t, i.Began(class), zone)
	switch {
	case i.Into != "":
		return fmt.Sprintf("%s since %s: two gateways have opened an incident each for this trouble. It continues as incident %s.", name, began, i.Into)
	case i.StillOn():
		return fmt.Sprintf("%s since %s: a person closed the incident at %s, but it is not over. It causes no alert until it has been quiet.",
			name, began, formatTime(t, i.Ended, zone))
	case !i.Phase.Open():
		return fmt.Sprintf("%s is over. It began at %s and ended at %s.", name, began, formatTime(t, i.Ended, zone))
	case class != i.Class:
		return fmt.Sprintf("%s since %s: this incident now has another class, %s since %s.", name, began, className(i.Class), formatTime(t, i.Since, zone))
	}
	text := fmt.Sprintf("%s since %s", name, began) + m.figures(class)
	for _, symptom := range i.Symptoms {
		if symptom.To.IsZero() {
			text += fmt.Sprintf(" Also %s since %s.", className(symptom.Class), formatTime(t, symptom.From, zone))
		}
	}
	return text
}

// figures has the present figures about a class of trouble, as the end of a
// sentence and more sentences.
func (m *Manager) figures(class watch.Class) string {
	f, known := m.incidents.Figures()
	if !known {
		return ". There are no figures yet: postern has just started."
	}
	text := fmt.Sprintf(": %s, %.0f logins a minute (expected: %.0f), %.0f of them from strangers with wrong passwords.",
		incident.Over(incident.RateWindow), f.Observed.Logins, f.Expected.Logins, f.Observed.Suspects)
	if served, of := servedShare(class, f.Users); of > 0 {
		text += fmt.Sprintf(" Known users: %.1f %% served %s.", 100*served, incident.Over(incident.ServedWindow))
	}
	if s := m.State(); class == watch.ClassAccountAbuse && s.Abused > 0 {
		text += fmt.Sprintf(" In the last hour, %d accounts were used far more than is their habit.", s.Abused)
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
	case watch.ClassAccountAbuse:
		return "many accounts used far more than is their habit"
	case watch.ClassSlowSpray:
		return "slow password guessing from many sources"
	case watch.ClassImpaired:
		return "known users not served"
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
	case watch.ClassAccountAbuse:
		return "The passwords may be stolen: `postern report` lists accounts. Lock them or reset their passwords; postern does not refuse correct passwords."
	case watch.ClassSlowSpray:
		return "Many sources try a few passwords each, for hours. The limits per account apply. Look in `postern report` for accounts that were accepted from such networks."
	case watch.ClassImpaired:
		return "Check whether postern refuses known users (`limited` in `postern check`) or the backends fail."
	}
	return "`postern incident show` prints what was detected or reported."
}
