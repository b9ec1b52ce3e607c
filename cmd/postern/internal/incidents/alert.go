package incidents

import (
	"fmt"
	"time"

	"postern/cmd/postern/internal/notify"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// AlertName is what every alert of a Lookout is called. The label class says
// what it is about, so that a cause that turns out to be another makes itself
// heard again.
const AlertName = "PosternIncident"

// alertOf is what people are told of an incident at time t: labels that stay
// the same while the class does, and words about now.
func (l *Lookout) alertOf(i incident.Incident, class watch.Class, s watch.State) notify.Alert {
	return notify.Alert{
		Labels: map[string]string{
			"alertname": AlertName, "service": "postern", "instance": l.config.Host, "severity": "page",
			"class": string(class), "incident": i.ID,
		},
		Annotations: map[string]string{
			"summary":     l.summary(i, class, s),
			"description": advice(class) + " `postern incident ack` ends the reminders; `postern report` tells the story so far.",
		},
		Starts: i.Started,
		Ends:   i.Ended,
	}
}

// summary is one line about an incident: what it is, since when, how great,
// and how the users fare.
func (l *Lookout) summary(i incident.Incident, class watch.Class, s watch.State) string {
	zone := l.config.Location
	if !i.Phase.Open() {
		return fmt.Sprintf("%s is over. It began at %s and ended at %s.", upper(nameOf(class)), clock(i.Ended, i.Started, zone), clock(i.Ended, i.Ended, zone))
	}
	text := fmt.Sprintf("%s since %s: %.0f logins a minute where %.0f are usual, %.0f of them by strangers with wrong passwords.",
		upper(nameOf(class)), clock(s.Time, i.Started, zone), s.Observed.Logins, s.Expected.Logins, s.Observed.Suspects)
	if served, of := servedIn(class, s.Users); of > 0 {
		text += fmt.Sprintf(" Known users: %.1f %% served.", 100*served)
	}
	for _, symptom := range i.Symptoms {
		if symptom.To.IsZero() {
			text += fmt.Sprintf(" Also %s since %s.", nameOf(symptom.Class), clock(s.Time, symptom.From, zone))
		}
	}
	return text
}

// nameOf is what operators call a class of trouble.
func nameOf(c watch.Class) string {
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
		return "one loud source"
	}
	return "trouble with logins"
}

// advice is what to do first.
func advice(c watch.Class) string {
	switch c {
	case watch.ClassAttack:
		return "Strangers are held back by themselves; do not restart Dovecot. Look at whether known users are served."
	case watch.ClassAuthFault:
		return "Known users are told that their passwords are wrong: look at the password database, not at the gate."
	case watch.ClassBackendFault:
		return "Look at the backends: postern_backend_up and their logs."
	case watch.ClassStorm:
		return "Many sessions were lost at once and their clients come back; look for what cut them."
	}
	return "Somebody opened this by hand."
}

// reminder is how often a receiver without Alertmanager hears of an incident
// that nobody has acknowledged.
const reminder = time.Hour

// message is one thing that a webhook is still to be told.
type message struct {
	class watch.Class
	over  bool
}

// pending is what a receiver of webhooks is to be told of an incident at time
// t, after what it was told before: that it began, that it turned out to be
// something else, that nobody has acknowledged it, and that it is over.
func pending(t time.Time, i incident.Incident, before []told) (messages []message) {
	var last told
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	firing := len(before) > 0 && !last.Over
	switch {
	case !i.Phase.Alarming() && firing:
		return []message{{last.Class, true}}
	case !i.Phase.Alarming():
		return nil
	case firing && last.Class != i.Class:
		return []message{{last.Class, true}, {i.Class, false}}
	case !firing, i.AckedBy == "" && t.Sub(last.Time) >= reminder:
		return []message{{i.Class, false}}
	}
	return nil
}
