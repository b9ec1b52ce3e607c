package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/limiter/watch"
)

// At a site with several gateways one Log leads: it makes the events. The others follow with [Log.Follow] and [Log.Apply].
// Commands make events at every Log. So events of one incident can arrive in any order, and an incident is what its opening
// and then its other events make in the order of compare, not in that of their arrival.

// Follow adds the state at the end of a tick, as [Log.Observe] does, but makes no events: another Log does that. So l can make
// them from any later tick on.
func (l *Log) Follow(s watch.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Time.IsZero() || !slices.Contains(watch.Classes(), s.Class) {
		return
	}
	l.note(s)
}

// Apply adds events that another Log has made, those of one incident after its opening. It returns those that are new, and
// must be stored. Events that are invalid, or of an incident that is not known, are left out, and the first error is returned.
func (l *Log) Apply(events ...Event) (added []Event, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		is, failed := l.insert(e)
		if is {
			added = append(added, e)
		}
		err = cmp.Or(err, failed)
	}
	return added, err
}

// Reconcile closes, at time t, all open incidents but the one with the earliest ID, and returns the events, each with that ID.
// There are several when gateways that did not reach each other have opened one each. Only the leader does this.
func (l *Log) Reconcile(t time.Time) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reconcile(t)
	return l.flush()
}

// reconcile closes all open incidents but one.
func (l *Log) reconcile(t time.Time) {
	kept := l.open()
	for _, i := range l.all {
		if i.Phase.Open() && i != kept {
			l.emit(Event{
				Time: later(t, i.Changed), Incident: i.ID, Kind: KindPhase, From: i.Phase, To: ended(i.Phase), By: byWatch, Into: kept.ID,
				Text: fmt.Sprintf("two gateways have opened an incident each for this trouble: %s continues", kept.ID),
			})
		}
	}
}

// insert adds an event at its place in the order of the events of its incident.
func (l *Log) insert(e Event) (added bool, err error) {
	if e.Time.IsZero() || e.Incident == "" {
		return false, fmt.Errorf("got an event of kind %q without time or incident, want both", e.Kind)
	}
	i := l.find(e.Incident)
	if i == nil {
		if e.Kind != KindOpen {
			return false, fmt.Errorf("event of unknown incident %q", e.Incident)
		}
		i, err := opened(e)
		if err == nil {
			l.add(i)
			l.sort()
		}
		return err == nil, err
	}
	events := slices.Clone(i.Events)
	if e.Kind == KindOpen {
		if e.compare(events[0]) >= 0 { // of two openings the first counts
			return false, nil
		}
		events[0] = e
	} else {
		at, there := slices.BinarySearchFunc(events[1:], e, Event.compare)
		if there {
			return false, nil
		}
		events = slices.Insert(events, at+1, e)
	}
	if len(events) > eventsMost {
		return false, fmt.Errorf("incident %q: got %d events, want at most %d", i.ID, len(events), eventsMost)
	}
	again, err := replayed(events)
	if err != nil {
		return false, err
	}
	*i = *again
	l.sort()
	return true, nil
}

// eventsMost bounds the events of one incident that other gateways add.
const eventsMost = 2 * maxEvents

// replayed returns the incident that its events make, the first of which opens it.
func replayed(events []Event) (*Incident, error) {
	i, err := opened(events[0])
	for _, e := range events[1:] {
		if err == nil {
			err = i.append(e)
		}
	}
	return i, err
}

// sort sorts the incidents: those opened first come first.
func (l *Log) sort() {
	slices.SortStableFunc(l.all, func(a, b *Incident) int {
		return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID))
	})
}

// kindOrder is the order of events of the same time: that in which a Log makes them.
var kindOrder = []Kind{
	KindOpen, KindReopen, KindClass, KindAttach, KindDetach, KindActive, KindQuiet, KindAck, KindHold, KindFalse, KindPublish, KindNote,
	KindEvidence, KindPhase,
}

// compare compares two events of one incident by their order. It returns 0 only for the same event.
func (e Event) compare(o Event) int {
	return cmp.Or(
		e.Time.Compare(o.Time),
		cmp.Compare(slices.Index(kindOrder, e.Kind), slices.Index(kindOrder, o.Kind)),
		cmp.Compare(slices.Index(Phases(), e.To), slices.Index(Phases(), o.To)),
		cmp.Compare(e.Class, o.Class),
		cmp.Compare(e.By, o.By),
		cmp.Compare(e.Text, o.Text),
		cmp.Compare(e.Into, o.Into),
	)
}
