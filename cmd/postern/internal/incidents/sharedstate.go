package incidents

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch/incident"
)

// sharedVersion is the version of a shared state. Raise it when older versions
// cannot read a state any more; they ignore fields that they do not know.
const sharedVersion = 1

// The bounds of a shared state: the latest incidents are in it.
const (
	sharedStateMost = 4 << 20  // octets, about
	mergedMost      = 16 << 20 // octets
	sharedFor       = historyDays * 24 * time.Hour
)

// sharedState is the form of ExportShared in JSON.
type sharedState struct {
	Version       int              `json:"version"`
	Made          time.Time        `json:"made"` // time of the latest state of the detector
	Events        []incident.Event `json:"events"`
	Notifications []notification   `json:"notifications"`
}

// ExportShared returns the incidents of the last 35 days and what people were sent
// about them, for MergeShared at a gateway that joins or has missed records.
func (m *Manager) ExportShared() []byte {
	s := sharedState{Version: sharedVersion, Made: m.State().Time, Events: []incident.Event{}, Notifications: []notification{}}
	size := 0
	for _, i := range m.incidents.All() { // the latest first
		sent := m.notificationsAbout(i.ID)
		for _, part := range []any{i.Events, sent} {
			data, _ := json.Marshal(part) // cannot fail for these types
			size += len(data)
		}
		if size > sharedStateMost || s.Made.Sub(i.Changed) > sharedFor {
			break
		}
		s.Events = append(s.Events, i.Events...)
		s.Notifications = append(s.Notifications, sent...)
	}
	data, _ := json.Marshal(s)
	return data
}

// MergeShared adds, at time t, what m lacks of the state of another gateway, and
// shares what that gateway lacked when it made the state. If both have opened an
// incident while they did not reach each other, the leader closes the later one, and
// people get no second alert. An error names what was left out.
func (m *Manager) MergeShared(t time.Time, data []byte) error {
	if len(data) > mergedMost {
		return fmt.Errorf("merge the incidents of another gateway: got %d octets, want at most %d", len(data), mergedMost)
	}
	var s sharedState
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("merge the incidents of another gateway: %w", err)
	}
	if s.Version != sharedVersion {
		return fmt.Errorf("merge the incidents of another gateway: got version %d, want %d", s.Version, sharedVersion)
	}
	m.shareMissing(&s)
	if err := m.receive(t, s.Events, s.Notifications); err != nil {
		return fmt.Errorf("merge the incidents of another gateway: %w", err)
	}
	return nil
}

// missingFor is how far back events are shared again that another gateway lacks.
const missingFor = 24 * time.Hour

// shareMissing shares what s lacks, although it was made after that: records were
// lost, or given while the gateways did not reach each other.
func (m *Manager) shareMissing(s *sharedState) {
	lacks := func(at time.Time) bool { return at.Before(s.Made) && s.Made.Sub(at) < missingFor }
	there := map[string]bool{}
	for _, e := range s.Events {
		there[keyOf(e)] = true
	}
	for _, n := range s.Notifications {
		there[keyOf(n)] = true
	}
	all := m.incidents.All()
	slices.Reverse(all)
	for _, i := range all {
		for _, e := range i.Events {
			if lacks(e.Time) && !there[keyOf(e)] {
				m.share(share.RecordIncident, e)
			}
		}
		for _, n := range m.notificationsAbout(i.ID) {
			if lacks(n.Time) && !there[keyOf(n)] {
				m.share(share.RecordNotification, n)
			}
		}
	}
}

// keyOf returns the form in JSON of an event or a notification, with times in UTC:
// it is the same for the same at all gateways.
func keyOf(v any) string {
	switch x := v.(type) {
	case incident.Event:
		x.Time, x.Since = x.Time.UTC(), x.Since.UTC()
		x.Evidence = nil
		v = x
	case notification:
		x.Time, x.NextUpdate = x.Time.UTC(), x.NextUpdate.UTC()
		v = x
	}
	var text strings.Builder
	_ = json.NewEncoder(&text).Encode(v) // cannot fail for these types
	return text.String()
}
