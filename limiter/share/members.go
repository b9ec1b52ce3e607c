package share

import "time"

// A Heartbeat says, once a second in the stream [Known], that a gateway counts together with the others.
type Heartbeat struct {
	Known     float64   `json:"known"`     // logins of the known that asked for a global token, a second
	Strangers float64   `json:"strangers"` // likewise of strangers
	Version   string    `json:"version"`
	Mode      string    `json:"mode"`
	Since     time.Time `json:"since"`            // start of the process, by its own clock: to show it
	Leads     bool      `json:"leads"`            // has the lease
	Formats   [2]uint8  `json:"formats"`          // oldest and newest format that it reads; Announce sets it
	Former    []Boot    `json:"former,omitempty"` // the processes from which it has taken over; Announce sets it
}

// ParseHeartbeat decodes the data of a [RecordHeartbeat].
func ParseHeartbeat(data []byte) (Heartbeat, error) { return Heartbeat{}, nil }

// A Member is a process of a gateway that was seen lately.
type Member struct {
	Gateway   string
	Boot      Boot
	Own       bool // this process
	Heard     time.Time
	Heartbeat Heartbeat
}

// Members are the gateways that were seen lately. It is not safe for concurrent use.
type Members struct{}

// NewMembers returns the Members as the process boot of a gateway sees them: itself.
func NewMembers(gateway string, boot Boot) *Members { return nil }

// Announce returns the record of the heartbeat h of this process, to be sent at time t.
func (m *Members) Announce(t time.Time, h Heartbeat) Record { return Record{} }

// Heartbeat notes the heartbeat h of the process boot of a gateway, received at time t. Own ones must be noted too.
func (m *Members) Heartbeat(t time.Time, gateway string, boot Boot, h Heartbeat) {}

// Count returns how many gateways count together, this one included: all that were heard within the last 60 s. The time
// for which no heartbeat at all is received, its own included, does not count: while the engine is down, nobody leaves.
func (m *Members) Count(t time.Time) int { return 1 }

// Global returns the part of the global bucket that this gateway may use. It is for gateways that can reach the others:
// one that cannot (mode alone) uses 1/Count.
func (m *Members) Global(t time.Time) float64 { return 1 }

// Format returns the newest format that all members read.
func (m *Members) Format() uint8 { return 1 }

// List returns the members in the order of their names.
func (m *Members) List(t time.Time) []Member { return nil }

// Conflicts returns the names of gateways that two processes use at the same time, without an upgrade: somebody must set
// POSTERN_GATEWAY.
func (m *Members) Conflicts(t time.Time) []string { return nil }

// Export returns at time t what m knows, for [Members.Import] by the process that takes over.
func (m *Members) Export(t time.Time) []byte { return nil }

// Import makes m know at time t what the former process knew, and takes its part of the global bucket. m must be new. If
// data is damaged, it returns an error and changes nothing.
func (m *Members) Import(t time.Time, data []byte) error { return nil }
