package incidents

import (
	"fmt"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// publicText is how the status page describes incidents of one class. No text
// contains figures, addresses or account names.
type publicText struct {
	title       string
	observation string // sentences after "Since 11:05 CEST, "
	subject     string // what the incident is, within a sentence
	plural      bool   // subject is plural
}

// publicTextOf returns the text for a class. The default is for incidents that an
// operator has opened, and for the abuse of accounts: a text about it would tell
// the attackers that their passwords are no longer of use.
func publicTextOf(c watch.Class) publicText {
	switch c {
	case watch.ClassAttack, watch.ClassSlowSpray, watch.ClassNotice, watch.ClassSingleSource:
		return publicText{"Many automated login attempts",
			"we have been seeing an unusually large number of automated login attempts on IMAP and POP.", "the automated login attempts", true}
	case watch.ClassAuthFault:
		return publicText{"Some correct passwords are refused",
			"some correct passwords have been refused. Please do not change your password.", "the refusal of correct passwords", false}
	case watch.ClassBackendFault:
		return publicText{"Some mailboxes are unavailable", "some mailboxes have been unavailable.", "the problems with unavailable mailboxes", true}
	case watch.ClassStorm:
		return publicText{"Connections were interrupted",
			"many connections have been interrupted, and mail programs are reconnecting.", "the interruption of connections", false}
	}
	return publicText{"We are looking into a problem", "there has been a problem with IMAP and POP. We are looking into it.", "the problem", false}
}

// verb agrees with the subject.
func (p publicText) verb(singular, plural string) string {
	if p.plural {
		return plural
	}
	return singular
}

// impactText says what users notice.
var impactText = map[statuspage.Impact]string{
	statuspage.ImpactNone:     "Logging in works as usual for everybody, as far as we can see.",
	statuspage.ImpactMinor:    "Some logins may be slow or need a second try.",
	statuspage.ImpactMajor:    "Many logins are currently failing. Your password is still correct; please do not change it.",
	statuspage.ImpactCritical: "Most logins are currently failing. Your password is still correct; please do not change it.",
}

// updateText is the text of an update that no operator has written. again says
// that the previous update was of the same stage.
func updateText(i incident.Incident, next notification, again bool, zone *time.Location) string {
	text, began := publicTextOf(i.Class), formatTime(next.Time, i.Since, zone)
	subject := capitalize(text.subject)
	switch {
	case next.Stage == statuspage.Resolved && i.Into != "":
		return fmt.Sprintf("We report about %s that began at %s in another place on this page from now on.", text.subject, began)
	case next.Stage == statuspage.Resolved && i.False:
		return "We looked into it, and nothing was wrong. Logging in works as usual."
	case i.StillOn():
		return fmt.Sprintf("We continue to observe %s that began at %s. %s", text.subject, began, impactText[next.Impact])
	case next.Stage == statuspage.Resolved:
		return fmt.Sprintf("%s that began at %s %s over. Logging in works as usual.", subject, began, text.verb("is", "are"))
	case next.Stage == statuspage.Monitoring:
		return fmt.Sprintf("%s that began at %s %s over for now. We keep monitoring before we call it resolved.", subject, began, text.verb("is", "are"))
	case next.Stage == statuspage.Identified && (i.Class == watch.ClassAttack || i.Class == watch.ClassSlowSpray):
		return fmt.Sprintf("%s that began at %s %s. Protection is active. %s", subject, began, text.verb("continues", "continue"), impactText[next.Impact])
	case next.Stage == statuspage.Identified || again:
		return fmt.Sprintf("We are still working on %s that began at %s. %s", text.subject, began, impactText[next.Impact])
	}
	return fmt.Sprintf("Since %s, %s %s No mail is lost. We are working on it.", began, text.observation, impactText[next.Impact])
}

// capitalize returns s, which begins with a lower-case ASCII letter, as the
// beginning of a sentence.
func capitalize(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// formatTime formats when for readers at time t: with the date only if it is not
// the same day.
func formatTime(t, when time.Time, zone *time.Location) string {
	t, when = t.In(zone), when.In(zone)
	if t.Format(time.DateOnly) == when.Format(time.DateOnly) {
		return when.Format("15:04 MST")
	}
	return when.Format("15:04 MST on 2 January")
}
