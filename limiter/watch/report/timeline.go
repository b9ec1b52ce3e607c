package report

import (
	"fmt"

	"postern/limiter/watch/incident"
)

// timeline returns the events of the incident as text.
func (s *Subject) timeline() (lines []line) {
	for _, e := range s.Incident.Events {
		lines = append(lines, line{Time: e.Time.In(s.Location), By: e.By, Text: eventText(&e)})
	}
	return lines
}

// eventText describes e for operators.
func eventText(e *incident.Event) string {
	var text string
	switch e.Kind {
	case incident.KindOpen:
		text = fmt.Sprintf("%s: %s", e.To, e.Class)
	case incident.KindPhase:
		text = fmt.Sprintf("%s, after %s", e.To, e.From)
	case incident.KindReopen:
		text = fmt.Sprintf("reopened: %s", e.To)
	case incident.KindClass:
		text = fmt.Sprintf("class %s", e.Class)
	case incident.KindAttach:
		text = fmt.Sprintf("symptom %s", e.Class)
	case incident.KindDetach:
		text = fmt.Sprintf("end of symptom %s", e.Class)
	case incident.KindPublish:
		text = "published"
	case incident.KindQuiet:
		text = "quiet"
		if e.Class != "" {
			text = fmt.Sprintf("no longer: %s", e.Class)
		}
	case incident.KindActive:
		text = "trouble again"
	case incident.KindEvidence:
		text = "new peak"
	case incident.KindAck:
		text = "acknowledged"
	case incident.KindNote:
		text = "note"
	case incident.KindHold:
		text = "publishing held"
	case incident.KindFalse:
		text = "false alarm"
	}
	if len(e.Still) > 0 {
		text += ", although still on:"
		for _, class := range e.Still {
			text += " " + string(class)
		}
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Evidence != nil {
		text += " (" + evidenceText(e.Evidence) + ")"
	}
	return text
}

// evidenceText describes v for operators.
func evidenceText(v *incident.Evidence) string {
	return fmt.Sprintf(
		"%s: %.0f logins a minute where %.0f are expected, %.0f suspects where %.0f are, from %.0f networks where %.0f are; excess %.1f %%; "+
			"%.1f %% of the known served %s",
		incident.Over(incident.RateWindow), v.Observed.Logins, v.Expected.Logins, v.Observed.Suspects, v.Expected.Suspects, v.Observed.Networks, v.Expected.Networks,
		100*v.Excess, 100*v.Served, incident.Over(incident.ServedWindow))
}
