package report

import (
	"fmt"
	"math"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// publish removes from r everything that is not for the public, and rounds the rest. Readers must not learn which networks
// are suspected, which accounts were tried, or the thresholds.
func (s *Subject) publish(r *Report) {
	r.Timeline = s.publicTimeline()
	for i := range r.Volume {
		row := &r.Volume[i]
		row.Logins, row.Expected, row.Blocked, row.Known = round(row.Logins), round(row.Expected), round(row.Blocked), round(row.Known)
		if row.Above != nil {
			tenths := math.Round(*row.Above*10) / 10
			row.Above = &tenths
		}
		row.Failed = math.Round(row.Failed*20) / 20
		row.Class = ""
	}
	u := &r.Users
	u.Asked, u.Served, u.Limited, u.Fault = round(u.Asked), round(u.Served), round(u.Limited), round(u.Fault)
	r.Sources = sourceSum{
		DistinctNetworks: round(r.Sources.DistinctNetworks),
		DistinctAccounts: round(r.Sources.DistinctAccounts),
		Denials:          round(r.Sources.Denials),
	}
	c := r.Checks
	r.Checks = checkSum{
		Waited: round(c.Waited), Refused: round(c.Refused), WelcomeWaited: round(c.WelcomeWaited),
		KnownWaited: round(c.KnownWaited), KnownRefused: round(c.KnownRefused),
	}
	r.Resets = resetSum{Count: r.Resets.Count}
}

// round returns n rounded to two significant digits.
func round(n int) int {
	if n < 100 {
		return n
	}
	unit := math.Pow(10, math.Floor(math.Log10(float64(n)))-1)
	return int(math.Round(float64(n)/unit) * unit)
}

// publicTimeline returns the timeline for the public. Of the texts of people it has only those of the publish action, which
// are meant for the public.
func (s *Subject) publicTimeline() (lines []line) {
	add := func(e *incident.Event, text string) {
		if text != "" {
			lines = append(lines, line{Time: e.Time.In(s.Location), Text: text})
		}
	}
	if i := &s.Incident; i.Since.Equal(i.Started) {
		lines = append(lines, line{Time: i.Started.In(s.Location), Text: fmt.Sprintf("Start: %s.", classText(i.Class))})
	} else {
		lines = append(lines, line{Time: i.Started.In(s.Location), Text: "Start."})
	}
	for k := range s.Incident.Events {
		e := &s.Incident.Events[k]
		switch e.Kind {
		case incident.KindOpen, incident.KindPhase, incident.KindReopen:
			if len(e.Still) > 0 && !s.Incident.False {
				add(e, "We continue to observe it.")
			} else {
				add(e, phaseText(e.To))
			}
		case incident.KindQuiet:
			if e.Class == s.Incident.Class {
				add(e, phaseText(incident.Resolved))
			}
		case incident.KindClass:
			add(e, "From now on: "+classText(e.Class)+".")
		case incident.KindAttach:
			add(e, "At the same time: "+classText(e.Class)+".")
		case incident.KindPublish:
			add(e, e.Text)
		case incident.KindFalse:
			add(e, "It turned out that nothing was wrong.")
		}
	}
	return lines
}

// phaseText describes a phase in a sentence for the public. It is empty for phases that are not public.
func phaseText(p incident.Phase) string {
	return map[incident.Phase]string{
		incident.Detected:      "Our monitoring detected it.",
		incident.Investigating: "We are investigating.",
		incident.Mitigating:    "Logins of our users work.",
		incident.Monitoring:    "It has stopped. We continue to monitor.",
		incident.Resolved:      "It has ended.",
	}[p]
}

// classText describes a class for the public, as part of a sentence.
func classText(c watch.Class) string {
	return map[watch.Class]string{
		watch.ClassAccountAbuse: "unusual use of some mailboxes",
		watch.ClassSlowSpray:    "automated login attempts from very many places",
		watch.ClassAttack:       "an unusually large number of automated login attempts",
		watch.ClassAuthFault:    "trouble with the service that checks passwords",
		watch.ClassBackendFault: "trouble with some of our mail servers",
		watch.ClassStorm:        "very many mail programs connecting at once",
		watch.ClassImpaired:     "logins that take long or do not work",
		watch.ClassSingleSource: "automated login attempts from a few places",
		watch.ClassNotice:       "more failed logins than usual",
		watch.ClassGrowth:       "more logins than usual",
	}[c]
}
