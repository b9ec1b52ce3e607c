package incidents

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// RecordTypes returns the types of the records that a Manager shares: the counts of a
// tick of the detector, which are of no use after a minute; an event of an incident,
// in JSON; and what people were sent or shown, in JSON.
func RecordTypes() []share.RecordType {
	return []share.RecordType{share.RecordTick, share.RecordIncident, share.RecordNotification}
}

// sharedMost bounds a shared record, in octets.
const sharedMost = 1 << 20

// share publishes a record to the other gateways. v is encoded in JSON unless it is
// a []byte.
func (m *Manager) share(kind share.RecordType, v any) {
	if m.config.Share == nil {
		return
	}
	data, encoded := v.([]byte)
	if !encoded {
		var err error
		if data, err = json.Marshal(v); err != nil {
			m.config.Log.Error("cannot share a record with other gateways", slog.String("event", "watch"), slog.String("kind", kind.String()), slog.String("error", err.Error()))
			return
		}
	}
	m.config.Share(kind, data)
}

// shareTick publishes the counts of the ticks that have ended.
func (m *Manager) shareTick() {
	if m.config.Share == nil {
		return
	}
	if data := m.watch.TakeTick(); data != nil {
		m.share(share.RecordTick, data)
	}
}

// Receive applies a record that another gateway has published at time t: now minus
// the age of the record. Applying it again changes nothing, but a tick must be
// applied only once. An event of an unknown incident is an error; the snapshot of
// another gateway has it (MergeShared).
func (m *Manager) Receive(t time.Time, kind share.RecordType, data []byte) error {
	if len(data) > sharedMost {
		return fmt.Errorf("receive %s: got %d octets, want at most %d", kind, len(data), sharedMost)
	}
	var err error
	switch kind {
	case share.RecordTick:
		err = m.watch.AddTick(t, data)
	case share.RecordIncident:
		var e incident.Event
		if err = json.Unmarshal(data, &e); err == nil {
			err = m.receive(t, []incident.Event{e}, nil)
		}
	case share.RecordNotification:
		var n notification
		if err = json.Unmarshal(data, &n); err == nil {
			err = m.receive(t, nil, []notification{n})
		}
	default:
		err = fmt.Errorf("got another type, want one of %v", RecordTypes())
	}
	if err != nil {
		return fmt.Errorf("receive %s: %w", kind, err)
	}
	return nil
}

// receive adds, at time t, events and notifications of other gateways.
func (m *Manager) receive(t time.Time, events []incident.Event, notifications []notification) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.handedOver {
		return errHandedOver
	}
	added, err := m.incidents.Apply(events...)
	m.setResult(t, "saving incidents", appendLines(m.store, incidentsFile, true, added...))
	for _, e := range added {
		m.logReceived(e)
		if e.Kind == incident.KindFalse && t.Sub(e.Time) < relearnWithin {
			m.watch.Relearn(t)
		}
	}
	for _, n := range notifications {
		if n.Incident == "" || n.To == "" || n.Time.IsZero() {
			err = cmp.Or(err, errors.New("got a notification without incident, recipient or time, want all"))
			continue
		}
		m.addNotification(t, n)
	}
	if m.Leads() {
		m.reconcile(t)
	}
	m.signalChange()
	return err
}

// relearnWithin is how old a false alarm may be for the detector to learn from it:
// it learns the rates of the last minutes.
const relearnWithin = 5 * time.Minute

// logReceived logs an event that another gateway has made. That gateway has logged
// it as a warning if it is one.
func (m *Manager) logReceived(e incident.Event) {
	m.config.Log.Info("incident "+string(e.Kind)+" at another gateway",
		slog.String("event", "incident"), slog.String("incident", e.Incident), slog.String("kind", string(e.Kind)),
		slog.String("phase", string(e.To)), slog.String("class", string(e.Class)), slog.String("by", e.By), slog.String("note", e.Text))
}

// reconcile closes all open incidents but one. Receivers that were sent an alert
// about another one get none about the one that continues. The caller holds
// m.writing.
func (m *Manager) reconcile(t time.Time) {
	events := m.incidents.Reconcile(t)
	for _, e := range events {
		m.inheritNotifications(t, e.Incident, e.Into)
	}
	m.saveEvents(t, events)
}

// inheritNotifications records that each receiver that was sent an alert about one
// incident, but none about the other, was sent one about the other.
func (m *Manager) inheritNotifications(t time.Time, from, to string) {
	i, found := m.incidents.Find(to)
	if !found || !i.Phase.Alarming() {
		return
	}
	for _, r := range m.receivers {
		firing := func(id string) bool {
			sent := m.notificationsTo(r.name, id)
			return len(sent) > 0 && !sent[len(sent)-1].Resolved
		}
		if firing(from) && !firing(to) {
			n := notification{Time: t, Incident: to, To: r.name, Class: i.Class}
			m.addNotification(t, n)
			m.share(share.RecordNotification, n)
		}
	}
}

// Lead sets whether m leads. Only the leader makes events from what the detector
// sees, sends alerts and writes the status page. The others follow: they keep the
// same incidents, as Receive adds them, and execute commands. A Manager leads until
// Lead(false) is called.
func (m *Manager) Lead(leads bool) {
	m.mu.Lock()
	changed := m.follows == leads
	m.follows = !leads
	t := m.state.Time
	m.mu.Unlock()
	if !changed {
		return
	}
	if leads {
		m.writing.Lock()
		if !m.handedOver {
			m.reconcile(t)
		}
		m.writing.Unlock()
	}
	m.signalChange()
}

// Leads reports whether m leads.
func (m *Manager) Leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.follows
}

// SetAlone sets at time t whether the other gateways cannot be reached; see
// [watch.Watch.SetAlone]. A Manager that is alone should lead.
func (m *Manager) SetAlone(t time.Time, alone bool) { m.watch.SetAlone(t, alone) }

// observe handles a new state of the detector. The caller holds m.writing.
func (m *Manager) observe(t time.Time, s watch.State) {
	if m.Leads() {
		m.saveEvents(t, m.incidents.Observe(s))
	} else {
		m.incidents.Follow(s)
	}
}
