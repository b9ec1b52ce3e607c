// Package engine is the client of the Valkey or Redis server through which gateways
// share what they learn. Its calls are the few that package sharing needs, on streams
// and on plain keys.
//
// Every call has a deadline, so that an engine that hangs delays the caller for 200 ms
// and no longer. Nothing is retried: an error says why the call failed, and the caller
// decides. A call that failed may have been executed, or be executed later.
//
// There is one connection for commands and one for the blocking read. Each is dialled
// by the first call that needs it, and after an error by the next. The package has no
// goroutine of its own. It neither interprets the data nor decides
// whether a gateway counts alone.
package engine

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// callMax is how long one call may take, the dialling of a connection included. A
// blocking read may take as much longer as it waits.
const callMax = 200 * time.Millisecond

// readCount is how many entries of each stream [Client.Read] returns at most.
const readCount = 256

// Config says where the engine is and how this gateway identifies itself. The files are read again for
// each connection, so that they can be replaced.
type Config struct {
	URL          string // see [ParseURL]
	CA           string // file with the CA certificates that the engine's certificate is verified with; empty: those of the system
	Cert, Key    string // files with the certificate of this gateway and its key; empty: none
	PasswordFile string // file with the password of the user in URL; empty: none
	Name         string // of this gateway, for CLIENT LIST; empty: none
}

// ConfigError is the error of [Open].
type ConfigError struct {
	Field string // the field of Config that is wrong or names the file at fault
	Err   error
}

// Error returns the text of Err.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// A Reason is why a call failed, from a fixed set: it is the label of a metric.
type Reason string

// The reasons.
const (
	Down     Reason = "down"     // no connection, or it broke
	Timeout  Reason = "timeout"  // no answer in time
	Full     Reason = "full"     // no memory or disk left for a write (OOM, MISCONF)
	ReadOnly Reason = "readonly" // the engine is a replica, or has too few replicas (READONLY, MASTERDOWN, NOREPLICAS)
	Denied   Reason = "denied"   // wrong password, missing permission or a certificate that one side refuses
	Loading  Reason = "loading"  // the engine has started and reads its data
	Other    Reason = "other"    // all other errors
)

// Reasons are all reasons.
func Reasons() []Reason { return []Reason{Down, Timeout, Full, ReadOnly, Denied, Loading, Other} }

// An Error is the error of every call. Its text contains no password.
type Error struct {
	Op     string // the command, such as XADD
	Reason Reason
	Err    error
}

// Error names the command and what went wrong.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf is why a call failed. It is [Other] for an error that is no [Error].
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Other
}

// errClosed is the cause of errors after [Client.Close].
var errClosed = errors.New("the client is closed")

// An ID identifies an entry of a stream. The zero ID is before the first entry.
type ID struct {
	Milliseconds uint64 // the engine's clock, since 1970
	Sequence     uint64 // among the entries of one millisecond
}

// parseID parses an ID as String writes it.
func parseID(s string) (id ID, err error) {
	ms, sequence, found := strings.Cut(s, "-")
	if id.Milliseconds, err = strconv.ParseUint(ms, 10, 64); err == nil && found {
		id.Sequence, err = strconv.ParseUint(sequence, 10, 64)
	}
	if err != nil || !found {
		return ID{}, fmt.Errorf("parse the ID of an entry: got %q, want milliseconds-sequence", s)
	}
	return id, nil
}

// String is the ID as the engine writes it.
func (id ID) String() string {
	return strconv.FormatUint(id.Milliseconds, 10) + "-" + strconv.FormatUint(id.Sequence, 10)
}

// Compare is negative if id is before other, zero if they are equal, and positive if id is after other.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Milliseconds, other.Milliseconds), cmp.Compare(id.Sequence, other.Sequence))
}

// Time is when the entry was added, by the engine's clock.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.Milliseconds)) }

// A Position says from where on to read a stream.
type Position struct {
	Key   string // of the stream
	After ID     // of the last entry that has been read
}

// An Entry is an entry of a stream.
type Entry struct {
	Stream int // index in the positions of the read
	ID     ID
	Data   []byte // of the field that [Client.Add] writes; nil if the entry has none
}
