package report

import (
	"fmt"

	"postern/limiter/watch/incident"
)

// timeline returns the events of the incident in words.
func (s *Subject) timeline() (lines []line) {
	for _, e := range s.Incident.Events {
		lines = append(lines, line{Time: e.Time.In(s.Location), By: e.By, Text: eventText(&e)})
	}
	return lines
}

// eventWords describes e for operators.
func eventText(e *incident.Event) string {
	var text string
	switch e.Kind {
	case incident.KindOpen:
		text = fmt.Sprintf("%s: %s", e.To, e.Class)
	case incident.KindPhase:
		text = fmt.Sprintf("%s, after %s", e.To, e.From)
	case incident.KindReopen:
		text = fmt.Sprintf("it is back: %s", e.To)
	case incident.KindClass:
		text = fmt.Sprintf("it is %s", e.Class)
	case incident.KindAttach:
		text = fmt.Sprintf("%s came along", e.Class)
	case incident.KindDetach:
		text = fmt.Sprintf("%s is gone", e.Class)
	case incident.KindPublish:
		text = "public"
	case incident.KindEvidence:
		text = "it has grown"
	case incident.KindAck:
		text = "taken on"
	case incident.KindNote:
		text = "note"
	case incident.KindHold:
		text = "held back from the public"
	case incident.KindFalse:
		text = "false alarm"
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Evidence != nil {
		text += " (" + evidenceText(e.Evidence) + ")"
	}
	return text
}

// evidenceWords describes v for operators.
func evidenceText(v *incident.Evidence) string {
	return fmt.Sprintf(
		"%.0f logins a minute where %.0f are expected, %.0f suspects where %.0f are, from %.0f networks where %.0f are; excess %.1f %%; "+
			"%.1f %% of the known served",
		v.Observed.Logins, v.Expected.Logins, v.Observed.Suspects, v.Expected.Suspects, v.Observed.Networks, v.Expected.Networks,
		100*v.Excess, 100*v.Served)
}
