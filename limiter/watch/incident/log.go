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
	maxEvents    = 2000 // of one incident; beyond them only phases and commands are added
)

// A Log keeps incidents and makes their events from the states of a [watch.Watch] and from commands. At most one incident
// is open at a time. Trouble that begins while one is open is attached to it. A Log is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	hold time.Duration
	all  []*Incident // oldest first
	made []Event     // by the current call

	restored string // ID of the incident that was open after the restart and had been detected

	// Not restored after a restart, but by Import.
	first     time.Time   // of the first state, or the first after a gap
	latest    watch.State // the latest state
	rates     recentRates
	trouble   time.Time             // latest time of any trouble
	alarm     time.Time             // latest time of trouble that needs an alert
	alarms    []watch.Class         // trouble of the latest state that needs an alert
	notServed time.Time             // latest time when users were not served
	denied    spell                 // of a fault of authentication that may need an alert
	spells    map[watch.Class]spell // the latest of each class of trouble
}

// newLog returns a Log without incidents.
func newLog(hold time.Duration) *Log {
	return &Log{hold: hold, spells: map[watch.Class]spell{}}
}

// Figures are the present figures of the watch.
type Figures struct {
	Observed watch.Signals // a minute, over [RateWindow]
	Expected watch.Signals // likewise
	Users    watch.Users   // how the known were served, over [Window]
}

// Figures returns the figures of the latest state, and false before the first.
func (l *Log) Figures() (Figures, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Figures{Users: l.latest.Users}
	f.Observed, f.Expected = l.rates.means()
	return f, !l.first.IsZero()
}

// Replayed is what [Replay] found in the lines.
type Replayed struct {
	Events int   // read
	Torn   bool  // the last line is incomplete, as after a crash, and was left out
	Bad    []int // numbers of other lines that are invalid, from 1; at most 100
}

// Replay returns the Log with the events in data, one line of JSON each, in their order. An incident is published when it
// was detected hold ago, unless a person holds it.
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
			err = l.replay(e)
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
	l.sort()
	l.endLost()
	if i := l.open(); i != nil && i.Phase.Alarming() {
		l.restored = i.ID
	}
	return l, r
}

// endLost ends incidents that are open although another one was opened after their last event: their end was lost.
func (l *Log) endLost() {
	for k, i := range l.all {
		for _, next := range l.all[k+1:] {
			if i.Phase.Open() && i.Changed.Before(next.Opened) {
				i.Phase, i.Ended = Resolved, next.Opened
			}
		}
	}
}

// replay applies an event that was stored. Events of other gateways are not stored in their order.
func (l *Log) replay(e Event) error {
	if i := l.find(e.Incident); i != nil && e.compare(i.Events[len(i.Events)-1]) <= 0 {
		_, err := l.insert(e)
		return err
	}
	return l.apply(e)
}

// Open returns the open incident, if there is one.
func (l *Log) Open() (Incident, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.open(); i != nil {
		return i.clone(), true
	}
	return Incident{}, false
}

// Find returns the incident with this ID; if id is empty, the latest that was detected, or else the latest.
func (l *Log) Find(id string) (Incident, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(id)
	if id == "" {
		i = l.newest(func(i *Incident) bool { return !i.Detected.IsZero() })
		if i == nil {
			i = l.newest(func(*Incident) bool { return true })
		}
	}
	if i == nil {
		return Incident{}, false
	}
	return i.clone(), true
}

// All returns the incidents kept, at most 200, the latest first.
func (l *Log) All() []Incident {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Incident, 0, len(l.all))
	for _, i := range slices.Backward(l.all) {
		all = append(all, i.clone())
	}
	return all
}

// open returns the open incident or nil. If gateways that did not reach each other have opened several, it is the one that
// reconcile keeps.
func (l *Log) open() (kept *Incident) {
	for _, i := range l.all {
		if i.Phase.Open() && (kept == nil || i.ID < kept.ID) {
			kept = i
		}
	}
	return kept
}

// find returns the incident with this ID or nil.
func (l *Log) find(id string) *Incident {
	return l.newest(func(i *Incident) bool { return i.ID == id })
}

// newest returns the latest incident that fits or nil.
func (l *Log) newest(fits func(*Incident) bool) *Incident {
	for _, i := range slices.Backward(l.all) {
		if fits(i) {
			return i
		}
	}
	return nil
}

// emit applies a new event and keeps it for flush.
func (l *Log) emit(e Event) {
	i := l.find(e.Incident)
	minor := slices.Contains([]Kind{KindAttach, KindDetach, KindEvidence, KindQuiet, KindActive}, e.Kind)
	if minor && i != nil && i.Phase.Open() && len(i.Events) >= maxEvents {
		return
	}
	if i != nil && len(i.Events) > 0 {
		if last := i.Events[len(i.Events)-1]; e.compare(last) <= 0 { // a command can be later than the end of the last tick
			e.Time = last.Time.Add(1)
		}
	}
	if err := l.apply(e); err != nil {
		panic("incident: " + err.Error()) // a bug: the event is our own
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
