package limiter

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// An event is one change that a limiter publishes to its siblings. It says what happened, not what a bucket contains
// afterwards: each process applies it to its own buckets, under its own limits. Only the fields of its op are encoded.
type event struct {
	op       op
	kind     kind // of the entry of key
	bit      uint8
	flags    eventFlags
	growth   uint16 // how many times the limits of a source apply to the entry of key
	password uint32
	hours    uint32 // the hour, from 1970, in which it happened
	key      key    // of an entry
	account  key
	known    fingerprints
	first    time.Duration
	second   time.Duration
	record   []byte
}

// An op is what happened.
type op uint8

const (
	opNone             op = iota
	opOpened              // a connection was opened: entry; spentDenial if that took a token of connections
	opLoggedIn            // a connection has logged in: entry
	opClosed              // a connection was closed: entry; wasLoggedIn
	opHeld                // an attempt has taken a hold: entry; heldDenial, heldLook
	opSettled             // an attempt has spent or returned its hold: entry; all flags but those of other ops
	opSlot                // a stranger has held a login slot for the time first: entry
	opCharged             // a credential was charged: entry; for the times first, as denied, and second, as looked at
	opRepeated            // a credential will be answered as a repeat for the time first: entry; wasMatch
	opCleared             // an accepted login has cleared a pair or a repeat: entry
	opUsed                // a known attempt has asked for a token of the global bucket: entry of the use, account
	opGlobal              // a token of the global bucket was taken
	opCredentialDenied    // a known credential was denied: account
	opAccepted            // a login was accepted: account
	opLearned             // a login of the past was learned: account
	opSprayed             // a password was denied for the account with the given bit; if that is 64, it was tried
	opMerged              // an account of a snapshot was added: record
	opSince               // it is known now that a login was accepted in that hour
	opReleased            // an operator has released an entry
	opForgotten           // an operator has had an account forgotten: account
	opCount
)

// An opSet is a set of operations: bit n stands for op n.
type opSet uint32

const (
	allOps = opSet(1<<opCount - 1)
	// What gateways must know of each other: what is spent, and what is known. Nothing of it is what one of them has open.
	sharedDenials = opSet(1<<opSettled | 1<<opSlot | 1<<opCharged | 1<<opRepeated | 1<<opSprayed | 1<<opReleased)
	sharedKnown   = opSet(1<<opCleared | 1<<opCredentialDenied | 1<<opAccepted | 1<<opLearned | 1<<opForgotten | 1<<opSince)
)

// sharedFlags returns the flags of e that other gateways must know. ok is false if they need not know e.
func (e *event) sharedFlags() (f eventFlags, ok bool) {
	if e.op != opSettled {
		return e.flags, (sharedDenials|sharedKnown)&(1<<e.op) != 0
	}
	f = e.flags & (spentDenial | spentLook | wasDenied | onlyDelays | isNear | hasSecrets)
	if e.kind != kindSource && e.kind != kindNetwork { // the others have no penalty
		f &^= wasDenied
	}
	return f, f&(spentDenial|spentLook|wasDenied) != 0
}

// eventFlags are details of an event.
type eventFlags uint16

const (
	heldDenial  eventFlags = 1 << iota // a token of denials is held, or no longer held
	heldLook                           // likewise of looks
	spentDenial                        // a token is spent: of denials, of connections, of the logins of a source or device
	spentLook                          // a token of looks is spent
	wasDenied                          // penalty of a denial
	wasStarved                         // penalty of a starved attempt
	onlyDelays                         // the rule never refuses, so more than its tokens may be spent at a time
	isNear                             // the attempt is near
	hasSecrets                         // some credential of the account is known
	wasLoggedIn                        // the connection had logged in
	wasMatch                           // the denied credential is known
	wasCounted                         // the login counts in the usage of the account
	spentUse                           // it has taken a token of the logins of the account
	ofAllowed                          // the entry is that of an allowed network
	eventFlagsEnd
)

// fields says which fields of an event are encoded.
type fields uint16

const (
	fieldEntry fields = 1 << iota // kind and key
	fieldGrowth
	fieldFlags
	fieldFirst
	fieldSecond
	fieldAccount
	fieldKnown
	fieldHours
	fieldPassword // and bit
	fieldRecord
)

var fieldsOf = [opCount]fields{
	opOpened:           fieldEntry | fieldGrowth | fieldFlags,
	opLoggedIn:         fieldEntry | fieldGrowth,
	opClosed:           fieldEntry | fieldFlags,
	opHeld:             fieldEntry | fieldFlags,
	opSettled:          fieldEntry | fieldGrowth | fieldFlags,
	opSlot:             fieldEntry | fieldGrowth | fieldFlags | fieldFirst,
	opCharged:          fieldEntry | fieldFlags | fieldFirst | fieldSecond,
	opRepeated:         fieldEntry | fieldFlags | fieldFirst,
	opCleared:          fieldEntry,
	opUsed:             fieldEntry | fieldFlags | fieldAccount,
	opGlobal:           0,
	opCredentialDenied: fieldAccount | fieldKnown | fieldHours,
	opAccepted:         fieldAccount | fieldKnown | fieldHours,
	opLearned:          fieldAccount | fieldKnown | fieldHours,
	opSprayed:          fieldPassword,
	opMerged:           fieldHours | fieldRecord,
	opSince:            fieldHours,
	opReleased:         fieldEntry,
	opForgotten:        fieldAccount,
}

// eventMax is more octets than an event takes with its length.
const eventMax = 512

// maxRemaining is the longest time until a bucket is full: twice that of the slowest, because of debts.
const maxRemaining = 2*maxPer + time.Hour

// appendTo appends e: the number of octets that follow, the op and the fields.
func (e *event) appendTo(b []byte) []byte {
	var space [eventMax]byte
	body := append(space[:0], byte(e.op))
	f := fieldsOf[e.op]
	if f&fieldEntry != 0 {
		body = appendKey(append(body, byte(e.kind)), e.key)
	}
	if f&fieldGrowth != 0 {
		body = binary.AppendUvarint(body, uint64(e.growth))
	}
	if f&fieldFlags != 0 {
		body = binary.AppendUvarint(body, uint64(e.flags))
	}
	if f&fieldFirst != 0 {
		body = appendRemaining(body, e.first)
	}
	if f&fieldSecond != 0 {
		body = appendRemaining(body, e.second)
	}
	if f&fieldAccount != 0 {
		body = appendKey(body, e.account)
	}
	if f&fieldKnown != 0 {
		body = e.known.appendTo(body)
	}
	if f&fieldHours != 0 {
		body = binary.BigEndian.AppendUint32(body, e.hours)
	}
	if f&fieldPassword != 0 {
		body = append(binary.BigEndian.AppendUint32(body, e.password), e.bit)
	}
	if f&fieldRecord != 0 {
		body = append(body, e.record...)
	}
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

var errEvents = errors.New("events are damaged")

// eachEvent calls do with every event in b.
func eachEvent(b []byte, do func(*event)) error {
	return eachEventOr(b, func() error { return errEvents }, do)
}

// eachSharedEvent is eachEvent for events of another gateway. It skips those that it cannot read: they may be of a later
// version.
func eachSharedEvent(b []byte, do func(*event)) error {
	return eachEventOr(b, func() error { return nil }, do)
}

// eachEventOr is eachEvent, and calls unreadable for an event that it cannot read.
func eachEventOr(b []byte, unreadable func() error, do func(*event)) error {
	rd := reader{rest: b}
	for len(rd.rest) > 0 {
		body := reader{rest: rd.octets(rd.uvarint(math.MaxUint16))}
		if rd.bad {
			return errEvents
		}
		if e, ok := readEvent(&body); ok {
			do(&e)
		} else if err := unreadable(); err != nil {
			return err
		}
	}
	return nil
}

// readEvent reads an event that takes all of rd.
func readEvent(rd *reader) (e event, ok bool) {
	if e.op = op(rd.number(1)); e.op == opNone || e.op >= opCount {
		return e, false
	}
	f := fieldsOf[e.op]
	if f&fieldEntry != 0 {
		e.kind, e.key = rd.kind(), rd.key()
	}
	if f&fieldGrowth != 0 {
		e.growth = uint16(max(rd.uvarint(maxGrowth), 1))
	}
	if f&fieldFlags != 0 {
		e.flags = eventFlags(rd.uvarint(uint64(eventFlagsEnd - 1)))
	}
	if f&fieldFirst != 0 {
		e.first = rd.remaining()
	}
	if f&fieldSecond != 0 {
		e.second = rd.remaining()
	}
	if f&fieldAccount != 0 {
		e.account = rd.key()
	}
	if f&fieldKnown != 0 {
		e.known.read(rd)
	}
	if f&fieldHours != 0 {
		e.hours = uint32(rd.number(4))
	}
	if f&fieldPassword != 0 {
		e.password, e.bit = uint32(rd.number(4)), uint8(rd.number(1))
		rd.bad = rd.bad || e.bit > noAccountBit
	}
	if f&fieldRecord != 0 {
		e.record = rd.octets(uint64(len(rd.rest)))
		record := reader{rest: e.record}
		readAccount(&record, snapshotMagic, 0, 0)
		rd.bad = rd.bad || record.bad || len(record.rest) > 0
	}
	return e, !rd.bad && len(rd.rest) == 0
}

func (f *fingerprints) appendTo(b []byte) []byte {
	resumed := byte(0)
	if f.resumed {
		resumed = 1
	}
	b = append(binary.BigEndian.AppendUint16(b, f.credential), resumed)
	b = binary.BigEndian.AppendUint32(b, f.source)
	b = binary.BigEndian.AppendUint32(b, f.network)
	return binary.BigEndian.AppendUint32(b, f.device)
}

func (f *fingerprints) read(rd *reader) {
	f.credential, f.resumed = uint16(rd.number(2)), rd.number(1) != 0
	f.source, f.network, f.device = uint32(rd.number(4)), uint32(rd.number(4)), uint32(rd.number(4))
}
