package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"postern/limiter/watch"
)

// An Action is something that people do about incidents.
type Action string

// The actions.
const (
	ActOpen       Action = "open"        // there is an incident that the watch does not see; takes Class and Text
	ActAck        Action = "ack"         // I have taken it on
	ActNote       Action = "note"        // Text goes into the timeline
	ActHold       Action = "hold"        // it does not become public by itself
	ActPublish    Action = "publish"     // it becomes public now; Text, if any, goes with it
	ActMitigate   Action = "mitigate"    // users are served again
	ActReclassify Action = "reclassify"  // it is a Class
	ActFalseAlarm Action = "false-alarm" // it was none; ends it. The caller lets the watch relearn.
	ActResolve    Action = "resolve"     // it is over
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
	Incident string      `json:"incident,omitempty"` // its ID; empty is the open one
	By       string      `json:"by"`                 // at most 64 octets
	Text     string      `json:"text,omitempty"`     // at most 2,000 octets
	Class    watch.Class `json:"class,omitempty"`
}

// What is wrong with a [Command].
var (
	errNotFound = errors.New("there is no such incident")
	errOver     = errors.New("the incident is over")
	errOpen     = errors.New("an incident is open already")
)

// Do carries out c at time t and returns the events it makes. The error says why it cannot be done; then nothing has
// changed. Notes can also be added to an incident that is over.
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
		return errors.New("at no time")
	case !slices.Contains(Actions(), c.Action):
		return fmt.Errorf("is none of the actions %q", Actions())
	case c.By == "" || len(c.By) > 64 || !utf8.ValidString(c.By) || c.By == byWatch:
		return errors.New("say who does it, in at most 64 octets")
	case len(c.Text) > 2000 || !utf8.ValidString(c.Text):
		return errors.New("the text must be UTF-8 and at most 2,000 octets long")
	case c.Action == ActNote && c.Text == "":
		return errors.New("a note needs a text")
	case (c.Action == ActOpen || c.Action == ActReclassify) && !slices.Contains(watch.Classes(), c.Class):
		return fmt.Errorf("needs one of the classes %q", watch.Classes())
	}
	return nil
}

// do carries out c on i.
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

// remark records e if it has a text.
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
