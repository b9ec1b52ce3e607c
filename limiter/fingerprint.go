package limiter

import (
	"encoding/binary"
	"time"
)

// A fingerprint stands for one credential, source or network: a part of its digest. Zero means none.
//
// That of a credential has 16 bits. A guess has one chance in 65,536 of matching it, and then gains only a faster
// denial by the backend. An attacker who steals the table can exclude all but a 65,536th of all passwords, which does
// not help against a good one.
type fingerprint interface{ ~uint16 | ~uint32 }

// credentialFingerprint returns the fingerprint of c, or zero if no secret was shown.
func credentialFingerprint(c Credential) uint16 {
	if !c.shown() {
		return 0
	}
	return max(uint16(c[0])<<8|uint16(c[1]), 1)
}

// blockFingerprint returns the fingerprint of the source or network with key k.
func blockFingerprint(k key) uint32 {
	return max(uint32(k.hi>>32), 1)
}

// DigestCredential returns what stands for account and a digest of a secret, for [Attempt.Digest]. The digest may be so short
// that many secrets have the same, like the 12 bits of Dovecot's auth policy protocol. So it is no [Credential]: it finds
// repeats, but is never known, compared with what is known or counted as one password at many accounts. Each denial of a
// stranger is charged: one secret must not be free because another one with the same digest was denied.
func (l *Limiter) DigestCredential(account string, digest []byte) (c Credential) {
	name := l.hasher.account(account)
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, name.hi), name.lo)
	sum := l.shortDigests.sum(append(b, digest...))
	binary.BigEndian.PutUint64(c[:], max(sum.hi, 1))
	binary.BigEndian.PutUint64(c[8:], sum.lo)
	return c
}

// fingerprints are those of one attempt. Each may be zero, which is never known and never learned.
type fingerprints struct {
	credential              uint16
	resumed                 bool // device is not new
	source, network, device uint32
}

// An hour is a time as the known table counts it, on the wall clock, because the table outlives the process. It wraps
// around after seven years, which is longer than anything is known.
type hour uint16

// hourOf returns the hour of t.
func hourOf(t time.Time) hour {
	return hour(t.Unix() / 3600)
}

// tenthOf returns the tenth of a second of the hour h at t, its last one if t is in another hour. It is zero with one
// gateway: then logins are learned in the order in which they were accepted.
func (r *rules) tenthOf(t time.Time, h hour) uint16 {
	switch {
	case r.gateways == 1:
		return 0
	case hourOf(t) != h:
		return 3600*10 - 1
	}
	return uint16(t.UnixMilli() % (3600 * 1000) / 100)
}

// period is the time in which the accounts of a source are counted: 32 hours, of which a wrap of hour is a multiple.
const period = 32

// periodsSince returns how many periods later than that of h the one of now is, below zero if it is earlier.
func (h hour) periodsSince(now hour) int {
	return int(int16(now/period*period-h/period*period)) / period
}

// since returns the hours from h to now, zero if h is in the future.
func (h hour) since(now hour) int {
	return max(int(int16(now-h)), 0)
}

// validity says which accepted logins still count: those less than ttl hours before now.
type validity struct {
	now hour
	ttl int
}

// validityAt returns the validity at t. It rounds ttl up to a whole hour, because the known table counts hours.
func validityAt(t time.Time, ttl time.Duration) validity {
	return validity{hourOf(t), int((ttl + time.Hour - 1) / time.Hour)}
}

// covers reports whether a login accepted at h still counts.
func (v validity) covers(h hour) bool {
	return h.since(v.now) < v.ttl
}

// An account keeps a list of fingerprints of each sort, the latest first, and beside it when each was last accepted.

// contains reports whether f is in list and still counts.
func contains[F fingerprint](list []F, at []hour, f F, v validity) bool {
	for i := range list {
		if list[i] == f {
			return f != 0 && v.covers(at[i])
		}
	}
	return false
}

// moveToFront puts f first in list, accepted now. It returns when f was accepted before, unless it is new, and what had
// to go for it, zero if nothing had.
func moveToFront[F fingerprint](list []F, at []hour, f F, now hour) (evicted F, former hour, isNew bool) {
	i := 0
	for i < len(list)-1 && list[i] != f && list[i] != 0 {
		i++
	}
	former = at[i]
	if isNew = list[i] != f; isNew {
		evicted = list[i]
	}
	copy(list[1:i+1], list[:i])
	copy(at[1:i+1], at[:i])
	list[0], at[0] = f, now
	return evicted, former, isNew
}

// insert puts f, accepted at the hour when, into its place in list, by time. If f is there already, the later time counts.
// It returns when f was accepted before, unless it is new, and what had to go for it, zero if nothing had; that may be f
// itself.
func insert[F fingerprint](list []F, at []hour, f F, when hour) (evicted F, former hour, isNew bool) {
	i := 0
	for i < len(list) && list[i] != f && list[i] != 0 {
		i++
	}
	if isNew = i == len(list) || list[i] != f; isNew && i == len(list) {
		i--
		if int16(when-at[i]) <= 0 {
			return f, 0, true
		}
		evicted = list[i]
	}
	if former = at[i]; !isNew && int16(when-former) <= 0 {
		return 0, former, false
	}
	for ; i > 0 && int16(when-at[i-1]) >= 0; i-- {
		list[i], at[i] = list[i-1], at[i-1]
	}
	list[i], at[i] = f, when
	return evicted, former, isNew
}

// remove removes f from list.
func remove[F fingerprint](list []F, at []hour, f F) {
	for i := range list {
		if list[i] == f {
			copy(list[i:], list[i+1:])
			copy(at[i:], at[i+1:])
			list[len(list)-1] = 0
			return
		}
	}
}
