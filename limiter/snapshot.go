package limiter

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// The format of a snapshot of the known table. All numbers are big-endian:
//
//	15  "postern known 3", which includes the version
//	 4  the hour in which it was made, from 1970
//	 4  the hour in which the first account was accepted, zero if none
//	 4  how many accounts follow
//	    each account:
//	16      key
//	 1      how many credentials, then of each: 2 fingerprint, 2 age
//	 2      a former credential, zero if none is known
//	 2      the age of the first denial of the latest credential, 0xFFFF if it was not denied
//	 1      how many sources, then of each: 4 fingerprint, 2 age
//	 1      how many networks, then of each: 4 fingerprint, 2 age
//	 1      how many devices that have resumed a session, then of each: 4 fingerprint, 2 age
//	 1      how many devices that have not, then of each: 4 fingerprint, 2 age
//	32  HMAC-SHA-256 of all before it, under the key of the installation
//
// An age is the number of hours before the snapshot was made; the latest fingerprint comes first. Version 2, which has no
// former credential and no denial, and version 1, which has no devices either, are read as well.
const (
	snapshotMagic   = "postern known 3"
	snapshotMagicV2 = "postern known 2"
	snapshotMagicV1 = "postern known 1"
	snapshotHead    = len(snapshotMagic) + 3*4

	notDenied = math.MaxUint16
)

// Snapshot returns the known table at time t, for [Limiter.Restore] after a restart. It contains only keyed digests.
func (l *Limiter) Snapshot(t time.Time) []byte {
	b := l.appendSnapshot(make([]byte, 0, l.snapshotSize()), t)
	return append(b, l.checksum(b)...)
}

// snapshotSize estimates the octets of a snapshot.
func (l *Limiter) snapshotSize() int {
	return snapshotHead + sha256.Size + 80*int(l.known.count.Load())
}

// appendSnapshot appends a snapshot without its checksum.
func (l *Limiter) appendSnapshot(b []byte, t time.Time) []byte {
	v, begin := validityAt(t, l.rules.Load().KnownTTL), len(b)
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Unix()/3600))
	b = binary.BigEndian.AppendUint32(b, uint32(l.known.since.Load()))
	b = append(b, 0, 0, 0, 0)
	n := uint32(0)
	for i := range l.known.shards {
		s := &l.known.shards[i]
		s.mu.Lock()
		for account, i := range s.index {
			if a := s.at(i); a.valid(v) {
				b = a.appendTo(b, account, v)
				n++
			}
		}
		s.mu.Unlock()
	}
	binary.BigEndian.PutUint32(b[begin+snapshotHead-4:], n)
	return b
}

// checksum returns the HMAC of the body of a snapshot.
func (l *Limiter) checksum(b []byte) []byte {
	mac := hmac.New(sha256.New, l.snapshotKey[:])
	mac.Write(b)
	return mac.Sum(nil)
}

// appendTo appends those fingerprints of account that still count.
func (a *knownAccount) appendTo(b []byte, account key, v validity) []byte {
	b = binary.BigEndian.AppendUint64(b, account.hi)
	b = binary.BigEndian.AppendUint64(b, account.lo)
	b = appendFingerprints(b, a.credentials[:], a.credentialAt[:], v, binary.BigEndian.AppendUint16)
	b = binary.BigEndian.AppendUint16(b, a.former)
	denied := uint16(notDenied)
	if a.deniedAt != 0 {
		denied = uint16(a.deniedAt.since(v.now))
	}
	b = binary.BigEndian.AppendUint16(b, denied)
	b = appendFingerprints(b, a.sources[:], a.sourceAt[:], v, binary.BigEndian.AppendUint32)
	b = appendFingerprints(b, a.networks[:], a.networkAt[:], v, binary.BigEndian.AppendUint32)
	b = appendFingerprints(b, a.devices[:], a.deviceAt[:], v, binary.BigEndian.AppendUint32)
	return appendFingerprints(b, a.newDevices[:], a.newDeviceAt[:], v, binary.BigEndian.AppendUint32)
}

func appendFingerprints[F fingerprint](b []byte, list []F, at []hour, v validity, put func([]byte, F) []byte) []byte {
	n := 0
	for n < len(list) && list[n] != 0 && v.covers(at[n]) {
		n++
	}
	b = append(b, byte(n))
	for i := range n {
		b = binary.BigEndian.AppendUint16(put(b, list[i]), uint16(at[i].since(v.now)))
	}
	return b
}

// Restore adds the accounts of a snapshot that was made under the same key. If the snapshot is damaged, of another
// version or made under another key, it returns an error and changes nothing. It leaves out what was not accepted
// within KnownTTL before t, and accounts beyond TableMax. Accounts that are known already do not change.
func (l *Limiter) Restore(t time.Time, snapshot []byte) error {
	body, since, err := l.checked(t, snapshot)
	if err != nil {
		return fmt.Errorf("restoring the known table: %w", err)
	}
	r := l.rules.Load()
	l.cut.RLock()
	defer l.cut.RUnlock()
	if since != 0 {
		l.known.since.CompareAndSwap(0, since)
	}
	return eachAccount(body, t, func(account key, a *knownAccount) {
		l.known.restore(account, a, validityAt(t, r.KnownTTL), r.TableMax)
		l.publishMerged(t, account, a)
	})
}

// checked returns snapshot without its checksum, all of which can be read, and the hour, not after t, in which the first
// account was accepted, zero if none was.
func (l *Limiter) checked(t time.Time, snapshot []byte) (body []byte, since int64, err error) {
	if body, err = l.body(snapshot); err != nil {
		return nil, 0, err
	}
	since, err = checkSnapshot(body, t)
	return body, since, err
}

// checkSnapshot is checked for a snapshot without its checksum.
func checkSnapshot(body []byte, t time.Time) (since int64, err error) {
	if len(body) < snapshotHead {
		return 0, errDamaged
	}
	if err := eachAccount(body, t, func(key, *knownAccount) {}); err != nil {
		return 0, err
	}
	since = int64(binary.BigEndian.Uint32(body[len(snapshotMagic)+4:]))
	return min(since, t.Unix()/3600), nil
}

var errDamaged = errors.New("snapshot is damaged")

// body returns snapshot without its checksum, or an error if the checksum is wrong.
func (l *Limiter) body(snapshot []byte) ([]byte, error) {
	if !slices.ContainsFunc([]string{snapshotMagic, snapshotMagicV2, snapshotMagicV1}, func(m string) bool { return bytes.HasPrefix(snapshot, []byte(m)) }) {
		return nil, fmt.Errorf("got an unknown format, want a snapshot that begins with %q", snapshotMagic)
	}
	if len(snapshot) < snapshotHead+sha256.Size {
		return nil, errDamaged
	}
	body := snapshot[:len(snapshot)-sha256.Size]
	if !hmac.Equal(snapshot[len(body):], l.checksum(body)) {
		return nil, errors.New("snapshot is damaged or was made under another key")
	}
	return body, nil
}

// eachAccount calls do with every account in body, with its ages at time t.
func eachAccount(body []byte, t time.Time, do func(key, *knownAccount)) error {
	rd := reader{rest: body[len(snapshotMagic):]}
	made := rd.number(4)
	rd.number(4)
	n := rd.number(4)
	passed := max(t.Unix()/3600-int64(made), 0) // hours since it was made
	magic := string(body[:len(snapshotMagic)])
	for range n {
		account, a := readAccount(&rd, magic, hourOf(t), passed)
		if rd.bad {
			return errDamaged
		}
		do(account, &a)
	}
	if rd.bad || len(rd.rest) > 0 {
		return errDamaged
	}
	return nil
}

// readAccount reads one account of a snapshot that begins with magic. Its ages were computed passed hours before now.
func readAccount(rd *reader, magic string, now hour, passed int64) (account key, a knownAccount) {
	account = rd.key()
	readFingerprints(rd, a.credentials[:], a.credentialAt[:], 2, now, passed)
	if magic == snapshotMagic {
		a.former = uint16(rd.number(2))
		if denied := int64(rd.number(2)); denied != notDenied {
			a.deniedAt = max(now-hour(min(denied+passed, math.MaxInt16)), 1)
		}
	}
	readFingerprints(rd, a.sources[:], a.sourceAt[:], 4, now, passed)
	readFingerprints(rd, a.networks[:], a.networkAt[:], 4, now, passed)
	if magic != snapshotMagicV1 {
		readFingerprints(rd, a.devices[:], a.deviceAt[:], 4, now, passed)
		readFingerprints(rd, a.newDevices[:], a.newDeviceAt[:], 4, now, passed)
	}
	return account, a
}

// readFingerprints reads a list of fingerprints of size octets. Their ages were computed passed hours before now.
func readFingerprints[F fingerprint](rd *reader, list []F, at []hour, size int, now hour, passed int64) {
	n := int(rd.number(1))
	if n > len(list) {
		rd.bad = true
		return
	}
	for i := range n {
		list[i] = F(rd.number(size))
		at[i] = now - hour(min(int64(rd.number(2))+passed, math.MaxInt16))
		rd.bad = rd.bad || list[i] == 0
	}
}
