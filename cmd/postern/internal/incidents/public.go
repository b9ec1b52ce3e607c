package incidents

import (
	"strings"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// cadence is how often the public hears of an incident at least. What is
// promised is said a little early rather than late.
const (
	cadence = 30 * time.Minute
	early   = time.Minute
)

// stageOf is how far an incident has come, in the public's words.
func stageOf(p incident.Phase) statuspage.Stage {
	switch p {
	case incident.Mitigating:
		return statuspage.Identified
	case incident.Monitoring:
		return statuspage.Monitoring
	case incident.Resolved, incident.Dismissed:
		return statuspage.Resolved
	}
	return statuspage.Investigating
}

// fewAsked is how many known users must have asked for their share to mean
// anything.
const fewAsked = 20

// impactOf is what users notice, in four steps: the public needs to know
// whether it is affected, and the attacker must not read how well he does. With
// few users it is what trouble of this class usually does.
func impactOf(class watch.Class, u watch.Users) statuspage.Impact {
	served, asked := servedIn(class, u)
	switch {
	case asked < fewAsked && class == watch.ClassAttack:
		return statuspage.ImpactNone
	case asked < fewAsked || served >= .95 && served < .99:
		return statuspage.ImpactMinor
	case served >= .99:
		return statuspage.ImpactNone
	case served >= .5:
		return statuspage.ImpactMajor
	}
	return statuspage.ImpactCritical
}

// servedIn is the share of known users that were served, of how many. While
// correct passwords are refused, those who were denied were not served.
func servedIn(class watch.Class, u watch.Users) (share float64, of int) {
	if class != watch.ClassAuthFault {
		return u.Served(), u.Asked()
	}
	of = u.Asked() + u.Denied
	if of == 0 {
		return 1, 0
	}
	return float64(u.Good+u.Slow) / float64(of), of
}

// worse reports whether users notice more of a than of b.
func worse(a, b statuspage.Impact) bool {
	order := map[statuspage.Impact]int{statuspage.ImpactNone: 0, statuspage.ImpactMinor: 1, statuspage.ImpactMajor: 2, statuspage.ImpactCritical: 3}
	return order[a] > order[b]
}

// nextUpdate is what the public is to be told of an incident at time t, if
// anything. before is what it was told already. It is told when the incident
// becomes public, when it reaches another stage, turns out to be something
// else or gets worse, when an operator says something, and when an update was
// promised.
func nextUpdate(t time.Time, i incident.Incident, u watch.Users, before []told, zone *time.Location) (told, bool) {
	next := told{Time: t, Incident: i.ID, To: public, Class: i.Class, Stage: stageOf(i.Phase), Impact: impactOf(i.Class, u)}
	if next.Stage == statuspage.Monitoring || next.Stage == statuspage.Resolved {
		next.Impact = statuspage.ImpactNone
	}
	var last told
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	words := operatorsWords(i, last.Time)
	switch {
	case !i.Public():
		return told{}, false
	case len(before) == 0, next.Stage != last.Stage, next.Class != last.Class, len(words) > 0:
	case next.Stage == statuspage.Resolved:
		return told{}, false
	case worse(next.Impact, last.Impact), !t.Before(last.Promised.Add(-early)):
	default:
		return told{}, false
	}
	next.Title = voiceOf(i.Class).title
	next.Body = strings.Join(words, "\n")
	if next.Body == "" {
		next.Body = body(t, i, next, len(before) > 0 && last.Stage == next.Stage, zone)
	}
	if next.Stage != statuspage.Resolved {
		next.Promised = t.Add(cadence)
		next.Body += " Next update by " + clock(t, next.Promised, zone) + "."
	}
	return next, true
}

// operatorsWords are the texts that operators published after a time.
func operatorsWords(i incident.Incident, after time.Time) (texts []string) {
	for _, e := range i.Events {
		if e.Kind == incident.KindPublish && e.Text != "" && e.Time.After(after) {
			texts = append(texts, strings.TrimSpace(e.Text))
		}
	}
	return texts
}
