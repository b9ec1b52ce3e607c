package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"postern/limiter/watch"
)

// An Action is something that a person does about an incident.
type Action string

// The actions.
const (
	ActOpen       Action = "open"        // open an incident that the watch does not detect; needs Class
	ActAck        Action = "ack"         // acknowledge: By takes care of it
	ActNote       Action = "note"        // add Text to the timeline
	ActHold       Action = "hold"        // do not publish it automatically
	ActPublish    Action = "publish"     // publish it now, with Text if there is one
	ActMitigate   Action = "mitigate"    // users are served again
	ActReclassify Action = "reclassify"  // change the class to Class
	ActFalseAlarm Action = "false-alarm" // there was no incident: end it. The watch should relearn.
	ActResolve    Action = "resolve"     // end it
)

// Actions returns every action.
func Actions() []Action {
	return []Action{
		ActOpen, ActAck, ActNote, ActHold, ActPublish, ActMitigate, ActReclassify, ActFalseAlarm, ActResolve,
	}
}

// A Command is one action by one person.
type Command struct {
	Action   Action      `json:"action"`
	Incident string      `json:"incident,omitempty"` // ID; empty for the open incident
	By       string      `json:"by"`                 // at most 64 octets
	Text     string      `json:"text,omitempty"`     // at most 2,000 octets
	Class    watch.Class `json:"class,omitempty"`
}

// Reasons to refuse a [Command].
var (
	errNotFound = errors.New("no such incident")
	errOver     = errors.New("the incident has ended")
	errOpen     = errors.New("another incident is open")
)

// Do executes c at time t and returns the new events. On error nothing has changed. Notes can also be added to an incident
// that has ended.
func (l *Log) Do(t time.Time, c Command) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.check(t); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Action, err)
	}
	if c.Action == ActOpen {
		if l.open() != nil {
			return nil, fmt.Errorf("%s: %w", c.Action, errOpen)
		}
		l.emit(Event{Time: t, Incident: l.newID(t), Kind: KindOpen, To: Detected, Class: c.Class, By: c.By, Text: c.Text})
		l.alarm = t
		return l.flush(), nil
	}
	i := l.open()
	if c.Incident != "" {
		i = l.find(c.Incident)
	}
	if i == nil {
		return nil, fmt.Errorf("%s: %w", c.Action, errNotFound)
	}
	if !i.Phase.Open() && c.Action != ActNote {
		return nil, fmt.Errorf("%s %s: %w", c.Action, i.ID, errOver)
	}
	l.do(t, c, i)
	return l.flush(), nil
}

// check returns an error if c is invalid by itself.
func (c *Command) check(t time.Time) error {
	switch {
	case t.IsZero():
		return errors.New("got the zero time, want a time")
	case !slices.Contains(Actions(), c.Action):
		return fmt.Errorf("unknown action, want one of %q", Actions())
	case c.By == "" || len(c.By) > 64 || !utf8.ValidString(c.By) || c.By == byWatch:
		return fmt.Errorf("got by %q, want the name of a person in UTF-8, of 1 to 64 octets", c.By)
	case len(c.Text) > 2000 || !utf8.ValidString(c.Text):
		return fmt.Errorf("got a text of %d octets, want UTF-8 of at most 2,000 octets", len(c.Text))
	case c.Action == ActNote && c.Text == "":
		return errors.New("got no text, want one")
	case (c.Action == ActOpen || c.Action == ActReclassify) && !slices.Contains(watch.Classes(), c.Class):
		return fmt.Errorf("got class %q, want one of %q", c.Class, watch.Classes())
	}
	return nil
}

// do executes c on i.
func (l *Log) do(t time.Time, c Command, i *Incident) {
	e := Event{Time: t, Incident: i.ID, By: c.By, Text: c.Text}
	with := func(kind Kind) Event { e.Kind = kind; return e }
	enter := func(p Phase) { l.emit(Event{Time: t, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: p, By: c.By}) }
	switch c.Action {
	case ActAck:
		l.emit(with(KindAck))
	case ActNote:
		l.emit(with(KindNote))
	case ActHold:
		l.emit(with(KindHold))
	case ActPublish:
		l.emit(with(KindPublish))
		if i.Phase == Suspected || i.Phase == Detected {
			enter(Investigating)
		}
	case ActMitigate:
		l.emitText(with(KindNote))
		enter(Mitigating)
	case ActReclassify:
		e.Class = c.Class
		l.emit(with(KindClass))
	case ActFalseAlarm:
		l.endedByPerson = true
		l.emit(with(KindFalse))
		enter(ended(i.Phase))
	case ActResolve:
		l.endedByPerson = true
		l.emitText(with(KindNote))
		enter(ended(i.Phase))
	}
}

// emitText emits e if it has a text.
func (l *Log) emitText(e Event) {
	if e.Text != "" {
		l.emit(e)
	}
}

// ended returns the phase in which an incident in phase p ends.
func ended(p Phase) Phase {
	if p == Suspected {
		return Dismissed
	}
	return Resolved
}
