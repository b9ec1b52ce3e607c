// Package share makes, seals, opens and orders what several gateways of one site tell each other through an engine.
package share

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// A Stream is one of the two logs of the engine.
type Stream uint8

// The streams.
const (
	Denials Stream = iota // what was spent in buckets
	Known                 // what is known, heartbeats and all other records
	Streams int    = iota // how many there are
)

// String returns the name of s in the engine, see [Keys.Name].
func (s Stream) String() string {
	switch s {
	case Denials:
		return "denials"
	case Known:
		return "known"
	}
	return fmt.Sprintf("stream %d", uint8(s))
}

// A RecordType says what the data of a record is.
type RecordType uint8

// The types of records. A receiver skips and counts those that it does not know.
const (
	RecordEvents       RecordType = 1 + iota // events of a limiter
	RecordHeartbeat                          // see [Heartbeat]
	RecordTick                               // counts of a tick of the watch
	RecordIncident                           // an event of an incident
	RecordNotification                       // a notification that was sent
	RecordDecision                           // a decision of an operator
	RecordTaught                             // the known snapshot was renewed by learn: read it
	recordTypeEnd
)

// GatewayMax is the length of the longest name of a gateway.
const GatewayMax = 64

// A Record is one thing that a gateway tells the others. Data must not be changed afterwards.
type Record struct {
	Type RecordType
	Data []byte
	// Age is how long ago it happened: the time between Add and the read from the engine. A Receiver sets it.
	Age time.Duration
}

// A Boot identifies a process of a gateway: 16 random octets, made at its start.
type Boot [16]byte

// String returns the first 8 hexadecimal digits of b.
func (b Boot) String() string { return hex.EncodeToString(b[:4]) }

// MarshalText encodes b in hexadecimal digits.
func (b Boot) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b[:]), nil }

// UnmarshalText decodes what MarshalText has encoded.
func (b *Boot) UnmarshalText(text []byte) error {
	if len(text) != 2*len(b) {
		return fmt.Errorf("decoding the boot of a gateway: got %d digits, want %d", len(text), 2*len(b))
	}
	_, err := hex.Decode(b[:], text)
	return err
}

// Errors of opening a batch or a snapshot. A caller counts them, and tells them apart with errors.Is.
var (
	// ErrSealed: it was not sealed under the key of the site for this stream or this snapshot, or it was changed.
	ErrSealed = errors.New("does not open under the key of the site")
	// ErrFormat: it opens, and is of a format that this version does not read.
	ErrFormat = errors.New("of a format that this version does not read")
	// ErrDuplicate: the batch or a later one of the same process was opened before.
	ErrDuplicate = errors.New("was received before")
	// ErrStale: it was sealed at another time than the engine says, so it is a copy or the clock of the engine was set.
	ErrStale = errors.New("was sealed at another time than that of the engine")
)

// CheckGateway returns an error if name cannot be the name of a gateway: 1 to 64 letters, digits, hyphens, dots and
// underscores.
func CheckGateway(name string) error {
	if name == "" || len(name) > GatewayMax {
		return fmt.Errorf("name of the gateway: got %d characters, want 1 to %d", len(name), GatewayMax)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return fmt.Errorf("name of the gateway: got %q in %q, want letters, digits, hyphens, dots and underscores", c, name)
		}
	}
	return nil
}
