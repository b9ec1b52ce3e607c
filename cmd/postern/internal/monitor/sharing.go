package monitor

import (
	"fmt"
	"time"
)

// SharingMode says how a gateway counts.
type SharingMode string

// The modes.
const (
	SharingOff SharingMode = "off"     // no SHARE_URL: it counts for itself
	Joining    SharingMode = "joining" // it does not yet know what the others know
	Shared     SharingMode = "shared"  // together with the others
	Alone      SharingMode = "alone"   // the engine cannot be reached or is too slow: for itself, with its part of the limits
)

// SharingModes returns all modes.
func SharingModes() []SharingMode { return []SharingMode{SharingOff, Joining, Shared, Alone} }

// SharingErrors returns why a command of the engine may fail: the keys of Sharing.Errors.
func SharingErrors() []string {
	return []string{"down", "timeout", "full", "readonly", "denied", "loading", "other"}
}

// Sharing is how a gateway shares what it counts and knows with the other gateways of the site, through the engine: a Valkey
// or Redis server.
type Sharing struct {
	Gateway string      `json:"gateway"` // the name of this one
	Mode    SharingMode `json:"mode"`
	Since   time.Time   `json:"since"`            // of Mode
	Engine  string      `json:"engine"`           // its URL, without secrets
	Leader  string      `json:"leader,omitempty"` // the gateway that alerts people; empty if none is known
	Members []Member    `json:"members"`          // gateways that were seen lately, this one included, by name

	ReceiptAge float64 `json:"receipt_age"` // seconds since a batch of this gateway was last read back from the engine; 0 before the first
	GlobalPart float64 `json:"global_part"` // of LIMIT_GLOBAL, that this gateway may use: up to 1

	Sent     Transfer `json:"sent"`     // accepted by the engine
	Received Transfer `json:"received"` // from other gateways
	Lost     Transfer `json:"lost"`     // dropped here, because too many waited while the engine could not be used
	Rejected Transfer `json:"rejected"` // in Batches: what is in the engine and could not be used

	Errors    map[string]uint64 `json:"errors"`               // commands of the engine that have failed, by each of SharingErrors
	LastError string            `json:"last_error,omitempty"` // of them, or of the last batch that was rejected
	Warning   string            `json:"warning,omitempty"`    // what is wrong at the site, such as two gateways with the same name
}

// Transfer counts what went between gateways. A record has up to 8 KB of events of the limiter, or one thing of another
// kind, such as a decision.
type Transfer struct {
	Batches uint64 `json:"batches"`
	Records uint64 `json:"records"`
}

// Member is a gateway of the site.
type Member struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Mode    SharingMode `json:"mode"`            // as it has said last
	SeenAgo float64     `json:"seen_ago"`        // seconds
	Leads   bool        `json:"leads,omitempty"` // it is the Leader
	Own     bool        `json:"own,omitempty"`   // it is this gateway
}

// describe says how many gateways count together.
func (s *Sharing) describe() string {
	switch n := len(s.Members); {
	case s.Mode == Joining:
		return "joining the other gateways"
	case n == 2:
		return "counts together with 1 other gateway"
	default:
		return fmt.Sprintf("counts together with %d other gateways", max(n-1, 0))
	}
}

// problems checks whether the gateway counts together with the others.
func (s *Sharing) problems() (found []problem) {
	if s == nil {
		return nil
	}
	if s.Mode == Alone {
		text := "counts alone since " + s.Since.Format("15:04 MST") + ": the engine at " + s.Engine + " cannot be used"
		if s.LastError != "" {
			text += " (" + s.LastError + ")"
		}
		found = append(found, problem{Warning, text})
	}
	if s.Warning != "" {
		found = append(found, problem{Warning, "sharing: " + s.Warning})
	}
	return found
}
