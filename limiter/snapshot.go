package limiter

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// A snapshot is the known table in octets, all numbers big-endian:
//
//	15  "postern known 1", version included
//	 4  the hour it was made in, from 1970
//	 4  the hour the first account was accepted in, zero if none
//	 4  how many accounts follow
//	    each account:
//	16      key
//	 1      how many credentials, then of each: 2 mark, 2 age
//	 1      how many sources, then of each: 4 mark, 2 age
//	 1      how many networks, then of each: 4 mark, 2 age
//	32  HMAC-SHA-256 of all that under the key of the installation
//
// Ages are in hours before the one it was made in, the youngest first.
const (
	snapshotMagic = "postern known 1"
	snapshotHead  = len(snapshotMagic) + 3*4
)

// Snapshot returns what l knows at time t, for [Limiter.Restore] after a restart. It holds nothing but keyed digests.
func (l *Limiter) Snapshot(t time.Time) []byte {
	k := keptFor(t, l.rules.Load().KnownTTL)
	b := make([]byte, 0, snapshotHead+sha256.Size+64*int(l.known.accounts.Load()))
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Unix()/3600))
	b = binary.BigEndian.AppendUint32(b, uint32(l.known.since.Load()))
	b = append(b, 0, 0, 0, 0)
	n := uint32(0)
	for i := range l.known.parts {
		part := &l.known.parts[i]
		part.mu.Lock()
		for account, p := range part.persons {
			if p.fresh(k) {
				b = p.append(b, account, k)
				n++
			}
		}
		part.mu.Unlock()
	}
	binary.BigEndian.PutUint32(b[snapshotHead-4:], n)
	return append(b, l.seal(b)...)
}

// seal returns the checksum of a snapshot.
func (l *Limiter) seal(b []byte) []byte {
	mac := hmac.New(sha256.New, l.seals[:])
	mac.Write(b)
	return mac.Sum(nil)
}

// append appends p, known as account, as far as it is fresh.
func (p *person) append(b []byte, account key, k kept) []byte {
	b = binary.BigEndian.AppendUint64(b, account.hi)
	b = binary.BigEndian.AppendUint64(b, account.lo)
	b = appendMarks(b, p.credentials[:], p.credentialAt[:], k, binary.BigEndian.AppendUint16)
	b = appendMarks(b, p.sources[:], p.sourceAt[:], k, binary.BigEndian.AppendUint32)
	return appendMarks(b, p.networks[:], p.networkAt[:], k, binary.BigEndian.AppendUint32)
}

func appendMarks[M mark](b []byte, list []M, at []hour, k kept, put func([]byte, M) []byte) []byte {
	n := 0
	for n < len(list) && list[n] != 0 && k.fresh(at[n]) {
		n++
	}
	b = append(b, byte(n))
	for i := range n {
		b = binary.BigEndian.AppendUint16(put(b, list[i]), uint16(at[i].since(k.now)))
	}
	return b
}

// Restore adds what is known by a snapshot that was made under the same key. If it is damaged, of another version or
// made under another key, the error says so and nothing changes. What was not accepted within KnownTTL before t is left
// out, and so is what finds no room. Accounts that l knows already stay as they are.
func (l *Limiter) Restore(t time.Time, snapshot []byte) error {
	body, err := l.unsealed(snapshot)
	if err == nil {
		err = eachPerson(body, t, func(key, *person) {}) // all of it is right, or none is taken
	}
	if err != nil {
		return fmt.Errorf("snapshot of the known: %w", err)
	}
	r := l.rules.Load()
	if since := binary.BigEndian.Uint32(body[len(snapshotMagic)+4:]); since != 0 {
		l.known.since.CompareAndSwap(0, min(int64(since), t.Unix()/3600))
	}
	return eachPerson(body, t, func(account key, p *person) {
		l.known.restore(account, p, keptFor(t, r.KnownTTL), r.TableMax)
	})
}

var errDamaged = errors.New("is damaged")

// unsealed returns snapshot without its checksum, if that is right.
func (l *Limiter) unsealed(snapshot []byte) ([]byte, error) {
	if !bytes.HasPrefix(snapshot, []byte(snapshotMagic)) {
		return nil, errors.New("is none of this version")
	}
	if len(snapshot) < snapshotHead+sha256.Size {
		return nil, errDamaged
	}
	body := snapshot[:len(snapshot)-sha256.Size]
	if !hmac.Equal(snapshot[len(body):], l.seal(body)) {
		return nil, errors.New("is damaged, or was made under another key")
	}
	return body, nil
}

// eachPerson calls do with every account in body, as it stands at time t.
func eachPerson(body []byte, t time.Time, do func(key, *person)) error {
	rd := reader{rest: body[len(snapshotMagic):]}
	made := rd.number(4)
	rd.number(4)
	n := rd.number(4)
	passed := max(t.Unix()/3600-int64(made), 0) // hours since it was made
	for range n {
		account := key{rd.number(8), rd.number(8)}
		var p person
		readMarks(&rd, p.credentials[:], p.credentialAt[:], 2, hourOf(t), passed)
		readMarks(&rd, p.sources[:], p.sourceAt[:], 4, hourOf(t), passed)
		readMarks(&rd, p.networks[:], p.networkAt[:], 4, hourOf(t), passed)
		if rd.bad {
			return errDamaged
		}
		do(account, &p)
	}
	if rd.bad || len(rd.rest) > 0 {
		return errDamaged
	}
	return nil
}

// readMarks fills list with marks of size octets whose ages were taken passed hours before now.
func readMarks[M mark](rd *reader, list []M, at []hour, size int, now hour, passed int64) {
	n := int(rd.number(1))
	if n > len(list) {
		rd.bad = true
		return
	}
	for i := range n {
		list[i] = M(rd.number(size))
		at[i] = now - hour(min(int64(rd.number(2))+passed, math.MaxInt16))
		rd.bad = rd.bad || list[i] == 0
	}
}

// A reader takes numbers from the front of what is left. Once it has found too little, all it reads is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (rd *reader) number(size int) (n uint64) {
	if rd.bad = rd.bad || len(rd.rest) < size; rd.bad {
		return 0
	}
	for _, b := range rd.rest[:size] {
		n = n<<8 | uint64(b)
	}
	rd.rest = rd.rest[size:]
	return n
}
