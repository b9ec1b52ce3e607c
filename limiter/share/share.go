// Package share defines what the gateways of one site send each other through an engine (Valkey or Redis): how records are
// packed into batches, sealed, opened and ordered, which gateways count, and how snapshots are sealed. Each gateway decides
// by itself; the engine stores what it cannot read.
//
// A [Sender] makes the batches of one stream, a [Receiver] opens those of all gateways in both, [Members] are the gateways
// that were seen lately, and [Keys] seal and open snapshots. The package has no clock, goroutine or I/O: the caller appends
// batches to the streams, reads entries, and passes the time. The data of records and snapshots are defined by the packages
// that make them: limiter, limiter/watch, incidents, decisions. The caller decides which gateway leads, when one is alone,
// and when a snapshot is written or read.
//
// # Glossary
//
//	engine     the Valkey or Redis server
//	stream     a log of the engine: Denials or Known
//	record     one message of a gateway to the others: its type and data
//	batch      the sealed records of one entry of a stream
//	boot       16 random octets that identify a process of a gateway
//	sequence   the number of a batch: 1, 2, ... for each boot and stream
//	attempt    how many times the same sequence was sealed before
//	receipt    a batch of one's own that is read back from the engine
//	gap        some batch of a sender was not received, or its sender has lost records
//	heartbeat  the record that a gateway sends each second
//	member     a process of a gateway that was seen within the last minute
//	snapshot   the state of one gateway, of one kind, in chunks, with a manifest that describes it
//
// # Names in the engine
//
// All keys are postern:{SITE}:NAME. SITE is the first four octets of HMAC-SHA-256(install key, "site") in hexadecimal
// digits. NAME is denials or known (streams), snapshot:KIND (a manifest), snapshot:KIND:ID:I (a chunk), or what
// else the caller stores. A gateway with another install key has another SITE, so the two share nothing.
//
// # Batches
//
// The field of an entry is a batch. Numbers are big-endian, or of variable length (v), see package encoding/binary:
//
//	 1  format
//	 1  flags: 1 if another process has sealed it than the boot says
//	 1  stream: 0 denials, 1 known
//	 1  length of the name of the gateway, 1 to 64
//	 n  name of the gateway
//	16  boot
//	 8  sequence
//	 4  attempt
//	16  boot of the sealer, if the flag is set
//	    all that follows, sealed with AES-256-GCM; the tag of 16 octets is at its end. What is above is associated data
//	 1  flags: 1 if the sender has lost records before these
//	 v  when it was sealed: milliseconds since 1970 by the clock of the engine
//	    records, up to the end, of each:
//	 1  type, see RecordType
//	 v  age when it was sealed, in milliseconds
//	 v  length of the data
//	 n  data
//
// The nonce is sequence and attempt. The key is HMAC-SHA-256(HMAC-SHA-256(install key, "share batches"), stream, length of
// the name, name, boot, boot of the sealer), each as above. So every stream of every process has a key of its own, in which
// a nonce is used once: when a batch is sent again, because the engine has not confirmed it, its ages have changed, and it
// has the next attempt. A batch of a former process is sealed again under a key of both.
//
// A batch has at most 32 KB of records, or one larger record, and a heartbeat. A record has at most 128 KB. The sealing and
// the header are the same in all formats; a batch of an unknown format opens, is not decoded, and counts as a gap. A
// heartbeat says which formats its sender reads, and all write the newest that each member reads ([Members.Format]). Records
// of unknown types are skipped and counted, so a new type does not need a new format.
//
// # Order and age
//
// A receiver takes a batch only if its sequence is above the last one of its boot and stream, so each record is delivered at
// most once and in the order of its sender. If the sequence is not the next one, records are missing, and the caller should
// read the snapshots again. A process that is seen for the first time may begin with any sequence.
//
// No clocks of gateways are compared. The age of a record is the time it waited at the sender, by the sender's clock, and the
// time from the sealing to the read, by the clock of the engine: each gateway reads its TIME and adds what has passed since.
//
// # Snapshots
//
// A manifest is a nonce of 12 octets and the sealed JSON of a [Manifest], with its format (1) and the SHA-256 of the data. A
// chunk is a nonce and up to 256 KB of sealed data. The associated data are "manifest " and the kind; or "chunk ", the
// hash, ID (8), length (8), index (4) and the kind. So a chunk opens only as that part of that snapshot. The key is
// HMAC-SHA-256(install key, "share snapshots"). The nonce is the beginning of HMAC-SHA-256(HMAC-SHA-256(install key, "share
// nonces of snapshots"), length of the associated data (4), associated data, data): two gateways that make the same
// ID use different nonces, unless their data is the same.
//
// # What access to the engine allows
//
// Somebody who can read what is in the engine, or on the way to it, sees the names, boots and number of gateways, how many
// octets each of them sends and when, and how large the snapshots are. They see no address, account, credential or
// decision, and cannot tell whether a guess was right.
//
// Somebody who can write can drop, delay and repeat batches, append octets of their own, fill the engine, and remove or
// replace snapshots. That can make gateways count each for itself, as without an engine, and read snapshots more often. It
// cannot forge or change a record, or move one to another stream, gateway or site: what was not sealed under the key is
// refused, and takes no memory. What a copy of a sealed batch can do is bounded:
//
//   - a receiver refuses what it has received, of up to 1024 processes, those of former generations included;
//   - each refuses what was sealed more than 5 minutes before or after the time in the ID of its entry, staleAfter. So a
//     process that has just started takes a copy of a batch that is not older, once: its denials count twice there, its
//     heartbeats count a gateway that has ended for another minute;
//   - an entry under an old ID, in a stream that was removed before, is as old as the ID says: a caller that uses the
//     age of each record does not take an old one for a new one;
//   - a manifest opens until 65 minutes after it was made, snapshotMaxAge, so a snapshot can be replaced by one of the last
//     hour.
//
// Somebody who sets the clock of the engine can make records count as older, or younger by 5 minutes. A program that
// has the install key is a gateway: nothing here protects one gateway from another. Who holds a lease in the engine is not protected
// either; the field Leads of heartbeats is.
//
// # Upgrades
//
// Export and Import of Sender, Receiver and Members hand their state to the next process of the same gateway, which has a
// boot of its own. It sends what the engine has not confirmed, takes the batches of the former process for receipts, and has
// its place among the members. Only one of the two may send at a time.
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
	RecordSnapshot                           // a snapshot of the sort in the data was renewed: read it
	RecordResend                             // batches of the gateway named in the data were lost: it is to send its snapshots
	recordTypeEnd
)

// recordNames are the names of the types.
var recordNames = [recordTypeEnd]string{
	RecordEvents: "events", RecordHeartbeat: "heartbeat", RecordTick: "tick", RecordIncident: "incident", RecordNotification: "notification",
	RecordDecision: "decision", RecordSnapshot: "snapshot", RecordResend: "resend",
}

// String returns the name of r, for logs and errors.
func (r RecordType) String() string {
	if r > 0 && r < recordTypeEnd {
		return recordNames[r]
	}
	return fmt.Sprintf("record type %d", uint8(r))
}

// GatewayMax is the length of the longest name of a gateway.
const GatewayMax = 64

// A Record is one message of a gateway to the others. Data must not be changed afterwards.
type Record struct {
	Type RecordType
	Data []byte
	Age  time.Duration // between Add and the read from the engine; a Receiver sets it
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

// Errors of opening a batch or a snapshot, for errors.Is.
var (
	// ErrSealed says that it was not sealed under the key of the site for this stream or this snapshot, or it was changed.
	ErrSealed = errors.New("does not open under the key of the site")
	// ErrFormat says that it opens, and is of a format that this version does not read.
	ErrFormat = errors.New("of a format that this version does not read")
	// ErrDuplicate says that the batch or a later one of the same process was opened before.
	ErrDuplicate = errors.New("was received before")
	// ErrStale says that it was sealed at another time than the engine says, so it is a copy, or the clock of the engine was set.
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
