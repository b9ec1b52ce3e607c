package incident

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/limiter/watch"
)

// The bounds of a [Log].
const (
	maxIncidents = 200
	maxEvents    = 2000 // of one incident; beyond them only phases and what people do are noted
)

// A Log keeps incidents and makes their events, out of what a [watch.Watch] sees and of what people do. At most one
// incident is open at a time: trouble that comes while one is open is attached to it. A Log is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	hold time.Duration
	all  []*Incident // oldest first
	made []Event     // by the call under way

	// What a restart forgets: the waiting times then begin again.
	trouble       time.Time                 // when there last was something to suspect
	alarm         time.Time                 // when there last was something to tell people of
	notServed     time.Time                 // when users were last not served
	denied        time.Time                 // since when the known have been denied; zero if they are not
	seen          map[watch.Class]time.Time // when each symptom was last seen
	endedByPerson bool                      // a person ended the incident while its cause went on: it must not be reopened at once
}

// newLog returns a Log without incidents.
func newLog(hold time.Duration) *Log {
	return &Log{hold: hold, seen: map[watch.Class]time.Time{}}
}

// Replayed says what was wrong with the lines that [Replay] read.
type Replayed struct {
	Events int   // understood
	Torn   bool  // the last line was cut short, as by a crash; it was left out
	Bad    []int // numbers of other lines that could not be understood, from 1; at most 100
}

// Replay returns the Log whose events the lines of data tell, one in JSON each, in the order they were made. No
// data means no incidents. An incident becomes public hold after it is detected, unless somebody holds it.
func Replay(data []byte, hold time.Duration) (*Log, Replayed) {
	l, r := newLog(hold), Replayed{}
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e Event
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = l.apply(e)
		}
		switch {
		case err == nil:
			r.Events++
		case !whole:
			r.Torn = true
		case len(r.Bad) < 100:
			r.Bad = append(r.Bad, number)
		}
	}
	return l, r
}

// Open returns the incident that is open, if one is.
func (l *Log) Open() (Incident, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.open(); i != nil {
		return i.clone(), true
	}
	return Incident{}, false
}

// Find returns the incident with this ID; if id is empty, the latest that was more than suspected, or else the latest.
func (l *Log) Find(id string) (Incident, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(id)
	if id == "" {
		i = l.latest(func(i *Incident) bool { return !i.Detected.IsZero() })
		if i == nil {
			i = l.latest(func(*Incident) bool { return true })
		}
	}
	if i == nil {
		return Incident{}, false
	}
	return i.clone(), true
}

// All returns the incidents that are remembered, at most 200, the latest first.
func (l *Log) All() []Incident {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Incident, 0, len(l.all))
	for _, i := range slices.Backward(l.all) {
		all = append(all, i.clone())
	}
	return all
}

// open returns the open incident or nil.
func (l *Log) open() *Incident {
	return l.latest(func(i *Incident) bool { return i.Phase.Open() })
}

// find returns the incident with this ID or nil.
func (l *Log) find(id string) *Incident {
	return l.latest(func(i *Incident) bool { return i.ID == id })
}

// latest returns the latest incident that fits or nil.
func (l *Log) latest(fits func(*Incident) bool) *Incident {
	for _, i := range slices.Backward(l.all) {
		if fits(i) {
			return i
		}
	}
	return nil
}

// emit makes an event of what happened and applies it.
func (l *Log) emit(e Event) {
	i := l.find(e.Incident)
	chatter := e.Kind == KindAttach || e.Kind == KindDetach || e.Kind == KindEvidence
	if chatter && i != nil && len(i.Events) >= maxEvents {
		return
	}
	if err := l.apply(e); err != nil {
		panic("incident: " + err.Error()) // it was made here
	}
	l.made = append(l.made, e)
}

// flush returns the events made since it was last called.
func (l *Log) flush() []Event {
	made := l.made
	l.made = nil
	return made
}

// newID returns an ID for an incident opened at t.
func (l *Log) newID(t time.Time) string {
	id := t.UTC().Format("20060102-1504")
	for k := 2; l.find(id) != nil; k++ {
		id = fmt.Sprintf("%s-%d", t.UTC().Format("20060102-1504"), k)
	}
	return id
}
