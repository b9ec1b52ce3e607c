package share

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of a heartbeat.
const (
	heartbeatMax = 4 << 10 // octets
	rateMax      = 1e9
	textMax      = 64 // octets of Version and Mode
	formerMax    = 16
)

// A Heartbeat says, once a second in the stream [Known], that a gateway counts together with the others. It is encoded as
// JSON; names that a receiver does not know are ignored.
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
func ParseHeartbeat(data []byte) (h Heartbeat, err error) {
	if len(data) > heartbeatMax {
		return h, fmt.Errorf("decoding a heartbeat: got %d octets, want at most %d", len(data), heartbeatMax)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return Heartbeat{}, fmt.Errorf("decoding a heartbeat: %w", err)
	}
	if err := h.check(); err != nil {
		return Heartbeat{}, fmt.Errorf("decoding a heartbeat: %w", err)
	}
	return h, nil
}

// check returns an error if a value of h is out of its range.
func (h *Heartbeat) check() error {
	switch {
	case !(h.Known >= 0 && h.Known <= rateMax):
		return fmt.Errorf("known: got %v, want 0 to %v", h.Known, rateMax)
	case !(h.Strangers >= 0 && h.Strangers <= rateMax):
		return fmt.Errorf("strangers: got %v, want 0 to %v", h.Strangers, rateMax)
	case len(h.Version) > textMax || len(h.Mode) > textMax:
		return fmt.Errorf("version and mode: got %d and %d octets, want at most %d", len(h.Version), len(h.Mode), textMax)
	case h.Formats[0] == 0 || h.Formats[0] > h.Formats[1]:
		return fmt.Errorf("formats: got %d to %d, want an oldest and a newest", h.Formats[0], h.Formats[1])
	case len(h.Former) > formerMax:
		return fmt.Errorf("former: got %d processes, want at most %d", len(h.Former), formerMax)
	}
	return nil
}

// record returns h as a record, with all values in their ranges.
func (h *Heartbeat) record() Record {
	h.Known, h.Strangers = bounded(h.Known), bounded(h.Strangers)
	h.Version, h.Mode = shortened(h.Version), shortened(h.Mode)
	if year := h.Since.Year(); year < 1 || year > 9999 { // which JSON has no form for
		h.Since = time.Time{}
	}
	data, err := json.Marshal(h)
	if err != nil {
		panic(err) // all fields can be encoded
	}
	return Record{Type: RecordHeartbeat, Data: data}
}

// bounded returns a rate that is in its range.
func bounded(rate float64) float64 {
	if rate >= 0 { // and a number
		return min(rate, rateMax)
	}
	return 0
}

// shortened returns the beginning of text, in valid UTF-8.
func shortened(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), textMax)], "")
}

// isFormer reports whether h names boot as a process from which its sender has taken over.
func (h *Heartbeat) isFormer(boot Boot) bool { return slices.Contains(h.Former, boot) }
