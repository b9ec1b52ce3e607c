package watch

import "fmt"

// timeline tells the incident's events in words.
func (s *Subject) timeline() (lines []Line) {
	for _, e := range s.Incident.Events {
		lines = append(lines, Line{Time: e.Time.In(s.Location), By: e.By, Text: e.words()})
	}
	return lines
}

// words tells e to operators.
func (e *Event) words() string {
	var text string
	switch e.Kind {
	case KindOpen:
		text = fmt.Sprintf("%s: %s", e.To, e.Class)
	case KindPhase:
		text = fmt.Sprintf("%s, after %s", e.To, e.From)
	case KindReopen:
		text = fmt.Sprintf("it is back: %s", e.To)
	case KindClass:
		text = fmt.Sprintf("it is %s", e.Class)
	case KindAttach:
		text = fmt.Sprintf("%s came along", e.Class)
	case KindDetach:
		text = fmt.Sprintf("%s is gone", e.Class)
	case KindPublish:
		text = "public"
	case KindEvidence:
		text = "it has grown"
	case KindAck:
		text = "taken on"
	case KindNote:
		text = "note"
	case KindHold:
		text = "held back from the public"
	case KindFalse:
		text = "false alarm"
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Evidence != nil {
		text += " (" + e.Evidence.words() + ")"
	}
	return text
}

// words tells v to operators.
func (v *Evidence) words() string {
	return fmt.Sprintf(
		"%.0f logins a minute where %.0f are expected, %.0f suspects where %.0f are, from %.0f networks where %.0f are; excess %.1f %%; "+
			"%.1f %% of the known served",
		v.Observed.Logins, v.Expected.Logins, v.Observed.Suspects, v.Expected.Suspects, v.Observed.Networks, v.Expected.Networks,
		100*v.Excess, 100*v.Served)
}
