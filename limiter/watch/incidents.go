package watch

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// The bounds of [Incidents].
const (
	incidentsMost = 200
	eventsMost    = 2000 // of one incident; beyond them only phases and what people do are noted
)

// Incidents makes records of what a [Watch] sees. At most one is open at a time: trouble that comes while one is open is
// attached to it. It is safe for concurrent use.
type Incidents struct {
	mu   sync.Mutex
	hold time.Duration
	all  []*Incident // oldest first
	made []Event     // by the call under way

	// What a restart forgets: then it waits anew.
	bad    time.Time           // when there last was trouble worth suspicion
	alarm  time.Time           // when there last was trouble to tell people of
	unwell time.Time           // when users were last not served
	denied time.Time           // since when the known have been denied; zero if they are not
	seen   map[Class]time.Time // when each symptom was last seen
	spoken bool                // a person ended the incident while the trouble went on: it is not to come back at once
}

// newIncidents returns Incidents of which there are none.
func newIncidents(hold time.Duration) *Incidents {
	return &Incidents{hold: hold, seen: map[Class]time.Time{}}
}

// Open returns the incident that is open, if one is.
func (n *Incidents) Open() (Incident, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := n.open(); i != nil {
		return i.clone(), true
	}
	return Incident{}, false
}

// Find returns the incident with this ID; if id is empty, the latest that was more than suspected, or else the latest.
func (n *Incidents) Find(id string) (Incident, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.find(id)
	if id == "" {
		i = n.latest(func(i *Incident) bool { return !i.Detected.IsZero() })
		if i == nil {
			i = n.latest(func(*Incident) bool { return true })
		}
	}
	if i == nil {
		return Incident{}, false
	}
	return i.clone(), true
}

// All returns the incidents that are remembered, at most 200, the latest first.
func (n *Incidents) All() []Incident {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]Incident, 0, len(n.all))
	for _, i := range slices.Backward(n.all) {
		all = append(all, i.clone())
	}
	return all
}

// open returns the open incident or nil.
func (n *Incidents) open() *Incident {
	return n.latest(func(i *Incident) bool { return i.Phase.Open() })
}

// find returns the incident with this ID or nil.
func (n *Incidents) find(id string) *Incident {
	return n.latest(func(i *Incident) bool { return i.ID == id })
}

// latest returns the latest incident that fits or nil.
func (n *Incidents) latest(fits func(*Incident) bool) *Incident {
	for _, i := range slices.Backward(n.all) {
		if fits(i) {
			return i
		}
	}
	return nil
}

// emit makes an event of what happened and applies it.
func (n *Incidents) emit(e Event) {
	i := n.find(e.Incident)
	chatter := e.Kind == KindAttach || e.Kind == KindDetach || e.Kind == KindEvidence
	if chatter && i != nil && len(i.Events) >= eventsMost {
		return
	}
	if err := n.apply(e); err != nil {
		panic("watch: " + err.Error()) // it was made here
	}
	n.made = append(n.made, e)
}

// flush returns the events made since it was last called.
func (n *Incidents) flush() []Event {
	made := n.made
	n.made = nil
	return made
}

// newID returns an ID for an incident opened at t.
func (n *Incidents) newID(t time.Time) string {
	id := t.UTC().Format("20060102-1504")
	for k := 2; n.find(id) != nil; k++ {
		id = fmt.Sprintf("%s-%d", t.UTC().Format("20060102-1504"), k)
	}
	return id
}
