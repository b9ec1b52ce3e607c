package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
	Force    bool        `json:"force,omitempty"` // resolve although the trouble is still on
}

// Reasons to refuse a [Command].
var (
	errNotFound = errors.New("no such incident")
	errOver     = errors.New("the incident has ended")
	errOpen     = errors.New("another incident is open: add a note to it, or reclassify it")
)

// ErrStillOn is the reason to refuse to resolve an incident whose trouble is still on. With Force it is resolved.
var ErrStillOn = errors.New("not over yet")

// Do executes c at time t and returns the new events. On error nothing has changed. Notes can also be added to an incident
// that has ended.
func (l *Log) Do(t time.Time, c Command) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.check(t); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Action, err)
	}
	if c.Action == ActOpen {
		if i := l.open(); i != nil && i.Phase != Suspected {
			return nil, fmt.Errorf("%s: %w", c.Action, errOpen)
		}
		l.report(t, c)
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
	if on := l.stillOn(i); on != "" && c.Action == ActResolve && !c.Force {
		return nil, fmt.Errorf("%s %s: %w: %s", c.Action, i.ID, ErrStillOn, on)
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

// report opens an incident that a person reports. It takes over one that is suspected: that is detected now, as what the
// person says it is. It begins now, unless the watch sees trouble of that class.
func (l *Log) report(t time.Time, c Command) {
	e := Event{Time: t, Kind: KindOpen, To: Detected, Class: c.Class, By: c.By, Text: c.Text, Since: l.onSince(t, c.Class)}
	i := l.open()
	if i == nil {
		e.Incident = l.newID(t)
		l.emit(e)
		return
	}
	e.Incident, e.Kind, e.From = i.ID, KindPhase, Suspected
	switch {
	case e.Since.IsZero():
		e.Since = t
	case sameTrouble(i.Class, c.Class):
		e.Since = i.Since
	}
	l.emit(e)
}

// classNames say what is on, for people.
var classNames = map[watch.Class]string{
	watch.ClassAttack:       "the attack on logins is on (postern calls it over after 30 min of quiet)",
	watch.ClassAuthFault:    "correct passwords are refused",
	watch.ClassSlowSpray:    "slow guessing from many sources is on",
	watch.ClassAccountAbuse: "many accounts are logged in to far too often",
	watch.ClassImpaired:     "known users were not served in the last 5 min",
}

// stillOn says which alarming trouble is on, for people. It is empty if there is none.
func (l *Log) stillOn(i *Incident) string {
	if len(l.alarms) == 0 && l.unclear(i) {
		return fmt.Sprintf("postern has restarted, and takes %.0f min to tell whether it is over", restartFor.Minutes())
	}
	var on []string
	for _, class := range l.alarms {
		on = append(on, classNames[class])
	}
	return strings.Join(on, ", ")
}

// unclear reports whether the trouble of i was on before a restart, and may still be.
func (l *Log) unclear(i *Incident) bool {
	return i.ID == l.restored && i.Quiet.IsZero() && i.Phase != Monitoring && !l.observed(l.latest.Time)
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
		l.publish(t, i, with(KindPublish))
	case ActMitigate:
		l.emitText(with(KindNote))
		enter(Mitigating)
	case ActReclassify:
		e.Class = c.Class
		l.emit(with(KindClass))
	case ActFalseAlarm:
		l.emit(with(KindFalse))
		l.end(t, c, i)
	case ActResolve:
		l.emitText(with(KindNote))
		l.end(t, c, i)
	}
}

// publish emits e, which publishes i. What is published begins with the trouble that is on now.
func (l *Log) publish(t time.Time, i *Incident, e Event) {
	l.emit(e)
	if i.Phase != Suspected && i.Phase != Detected {
		return
	}
	next := Event{Time: t, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: Investigating, By: e.By}
	if i.Phase == Suspected && l.onSince(t, i.Class).IsZero() {
		next.Since = t
	}
	l.emit(next)
}

// end ends i by a person. Trouble that is still on causes no alert until it has been quiet once.
func (l *Log) end(t time.Time, c Command, i *Incident) {
	still := slices.Clone(l.alarms)
	if len(still) == 0 && l.unclear(i) {
		still = []watch.Class{i.Class}
	}
	l.emit(Event{Time: t, Incident: i.ID, Kind: KindPhase, From: i.Phase, To: ended(i.Phase), By: c.By, Still: still})
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
