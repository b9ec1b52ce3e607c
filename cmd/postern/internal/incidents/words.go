package incidents

import (
	"fmt"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// voice is how one class of trouble is spoken of in public. No text says how
// many, how much, from where or to whom.
type voice struct {
	title string
	since string // what has been seen, after "Since 11:05 CEST "
	it    string // what it is, within a sentence
	are   string // are or is
}

// voiceOf chooses the voice. What has no words of its own was opened by a
// person.
func voiceOf(c watch.Class) voice {
	switch c {
	case watch.ClassAttack, watch.ClassNotice, watch.ClassSingleSource:
		return voice{"Many automated login attempts", "we see an unusually large number of automated login attempts on IMAP and POP.", "the automated login attempts", "are"}
	case watch.ClassAuthFault:
		return voice{"Passwords are refused by mistake", "some correct passwords are refused. Please do not change your password.", "the wrongly refused passwords", "are"}
	case watch.ClassBackendFault:
		return voice{"Trouble reaching mailboxes", "some mailboxes cannot be reached.", "the trouble reaching mailboxes", "is"}
	case watch.ClassStorm:
		return voice{"Connections were interrupted", "many connections were interrupted at once and are being set up again.", "the interruption of connections", "is"}
	}
	return voice{"We are looking into a problem", "there is a problem with IMAP and POP that we are looking into.", "the problem", "is"}
}

// noticed says what users notice.
var noticed = map[statuspage.Impact]string{
	statuspage.ImpactNone:     "Logging in works as usual for everybody, as far as we can see.",
	statuspage.ImpactMinor:    "Some logins may be slow or need a second try.",
	statuspage.ImpactMajor:    "Many logins fail at the moment. Your password is still right; please do not change it.",
	statuspage.ImpactCritical: "Most logins fail at the moment. Your password is still right; please do not change it.",
}

// body is the text of an update that no person has written. again says that
// the stage was told before.
func body(t time.Time, i incident.Incident, next told, again bool, zone *time.Location) string {
	v, began := voiceOf(i.Class), clock(t, i.Started, zone)
	switch {
	case next.Stage == statuspage.Resolved && i.False:
		return "We looked into it, and nothing was wrong. Logging in works as usual."
	case next.Stage == statuspage.Resolved:
		return fmt.Sprintf("%s that began at %s %s over. Logging in works as usual.", upper(v.it), began, v.are)
	case next.Stage == statuspage.Monitoring:
		return fmt.Sprintf("%s that began at %s %s over for now. We keep watching before we call it resolved.", upper(v.it), began, v.are)
	case next.Stage == statuspage.Identified && i.Class == watch.ClassAttack:
		return fmt.Sprintf("%s that began at %s go on. Protection is active. %s", upper(v.it), began, noticed[next.Impact])
	case next.Stage == statuspage.Identified || again:
		return fmt.Sprintf("We are still working on %s that began at %s. %s", v.it, began, noticed[next.Impact])
	}
	return fmt.Sprintf("Since %s %s %s No mail is lost. We are working on it.", began, v.since, noticed[next.Impact])
}

// upper begins a sentence with s.
func upper(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// clock writes when for readers at time t: the day only if it is another one.
func clock(t, when time.Time, zone *time.Location) string {
	t, when = t.In(zone), when.In(zone)
	if t.Format(time.DateOnly) == when.Format(time.DateOnly) {
		return when.Format("15:04 MST")
	}
	return when.Format("15:04 MST on 2 January")
}
