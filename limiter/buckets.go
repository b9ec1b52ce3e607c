package limiter

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// The format of a snapshot of buckets. Numbers are big-endian, or of variable length (v), see package encoding/binary; a
// duration is a number of nanoseconds (v), and zero if it is over:
//
//	17  "postern buckets 1", which includes the version
//	 v  how many passwords are followed, then of each: 4 digest, 8 bitmap of accounts, duration, 1 weight
//	 v  how many entries follow, of each: 16 key, 1 kind,
//	    of a repeat: the durations for which its denial and its look are charged and for which it is one, 1 whether it matched
//	    of others: the durations until the buckets of denials and looks are full
//	    and of sources and networks: the duration of the penalty, 1 how often it was starved
const bucketsMagic = "postern buckets 1"

// Buckets returns what is spent at time t in all buckets that gateways count together, for [Limiter.MergeBuckets]: denials
// and looks, penalties, repeats and sprayed passwords. It has no checksum. An entry takes about 25 octets.
func (l *Limiter) Buckets(t time.Time) []byte {
	now := l.epoch.ticks(t)
	l.cut.RLock()
	defer l.cut.RUnlock()
	b := make([]byte, 0, 4096+32*int(l.table.used.Load()))
	b = l.sprays.appendTo(append(b, bucketsMagic...), now)
	return counted(b, func(b []byte) ([]byte, int) {
		count := 0
		for i := range l.table.shared {
			s := &l.table.shared[i]
			s.mu.Lock()
			b = s.appendSpent(b, now, &count)
			s.mu.Unlock()
		}
		for i := range l.table.shards {
			s := &l.table.shards[i]
			s.mu.Lock()
			for j := range s.entries {
				b = s.entries[j].appendSpent(b, now, &count)
			}
			s.mu.Unlock()
		}
		return b, count
	})
}

// isShared reports whether gateways count together what is spent in e.
func (e *entry) isShared() bool {
	return e.kind != kindNone && e.kind != kindUse
}

// hasPenalty reports whether e is of a kind that has a penalty.
func (e *entry) hasPenalty() bool {
	return e.kind == kindSource || e.kind == kindNetwork
}

// appendSpent appends e to a snapshot of buckets and counts it, unless nothing is spent in it.
func (e *entry) appendSpent(b []byte, now ticks, count *int) []byte {
	spent := max(ticks(e.denials), ticks(e.looks))
	if e.kind == kindRepeat {
		spent = max(spent, ticks(e.connects))
	}
	if e.hasPenalty() {
		spent = max(spent, e.penaltyUntil)
	}
	if !e.isShared() || spent <= now {
		return b
	}
	*count++
	b = append(appendKey(b, e.key), byte(e.kind))
	b = appendRemaining(appendRemaining(b, now.until(ticks(e.denials))), now.until(ticks(e.looks)))
	switch {
	case e.kind == kindRepeat:
		b = append(appendRemaining(b, now.until(ticks(e.connects))), e.starved)
	case e.hasPenalty():
		b = append(appendRemaining(b, now.until(e.penaltyUntil)), e.starved)
	}
	return b
}

var errBucketsDamaged = errors.New("the snapshot is damaged")

// readBuckets calls do with every entry of a snapshot of buckets, whose times are relative to it, and cell with every
// password.
func readBuckets(snapshot []byte, do func(*entry), cell func(sprayCell)) error {
	body, ok := bytes.CutPrefix(snapshot, []byte(bucketsMagic))
	if !ok {
		return fmt.Errorf("got format %q, want %q", snapshot[:min(len(snapshot), len(bucketsMagic))], bucketsMagic)
	}
	rd := reader{rest: body}
	for range rd.count(sprayCells) {
		if c := readSprayCell(&rd); !rd.bad {
			cell(c)
		}
	}
	for range rd.count(math.MaxInt32) {
		var e entry
		if e.readSpent(&rd); !rd.bad {
			do(&e)
		}
	}
	if rd.bad || len(rd.rest) > 0 {
		return errBucketsDamaged
	}
	return nil
}

// readSpent reads what appendSpent has appended.
func (e *entry) readSpent(rd *reader) {
	e.key, e.kind = rd.key(), rd.kind()
	e.denials, e.looks = bucket(rd.remaining()), bucket(rd.remaining())
	switch {
	case e.kind == kindRepeat:
		e.connects, e.starved = bucket(rd.remaining()), uint8(rd.number(1))
	case e.hasPenalty():
		e.penaltyUntil, e.starved = ticks(rd.remaining()), uint8(rd.number(1))
	}
	rd.bad = rd.bad || e.key == key{} || !e.isShared()
}

// MergeBuckets adds what another gateway had spent at time t, as its [Limiter.Buckets] says: of each bucket the one of
// which more is spent remains. If the snapshot is damaged or of another version, it returns an error and changes nothing.
// No feed records it.
func (l *Limiter) MergeBuckets(t time.Time, snapshot []byte) error {
	if err := readBuckets(snapshot, func(*entry) {}, func(sprayCell) {}); err != nil {
		return fmt.Errorf("merging with the buckets of another gateway: %w", err)
	}
	now, r := l.epoch.ticks(t), l.rules.Load()
	l.cut.RLock()
	defer l.cut.RUnlock()
	if l.retired {
		return nil
	}
	return readBuckets(snapshot, func(e *entry) { l.mergeSpent(now, r, e) }, func(c sprayCell) { l.sprays.merge(now, c) })
}

// mergeSpent adds what is spent in e, whose times are relative to now.
func (l *Limiter) mergeSpent(now ticks, r *rules, e *entry) {
	own, mu := l.table.findOrAdd(now, e.key, e.kind, e.importLimit(r))
	if own == nil {
		return
	}
	defer mu.Unlock()
	debt := max(r.debt(), 1)
	switch {
	case own.kind != e.kind:
	case e.kind == kindRepeat:
		if r.gateways > 1 && own.isClearedAfter(now) {
			return
		}
		longest := bucket(r.longestCharge())
		own.denials, own.looks = max(own.denials, min(e.denials, longest).from(now)), max(own.looks, min(e.looks, longest).from(now))
		if until := min(e.connects, bucket(r.RepeatTTL)).from(now); until > own.connects {
			own.connects, own.starved = until, min(e.starved, deniedMatch)
		}
	case e.kind == kindPair && r.gateways > 1 && own.isClearedAfter(now):
	default:
		denials, looks := r.denials[e.kind], r.looks[e.kind]
		own.denials.atLeast(now, e.denials, &denials, debt)
		own.looks.atLeast(now, e.looks, &looks, debt)
		own.mergePenalty(now, e)
	}
}

// atLeast makes b full no sooner than d after now, or than its largest debt is paid.
func (b *bucket) atLeast(now ticks, d bucket, r *limit, debt int) {
	if !r.off() {
		*b = max(*b, min(d, bucket(time.Duration(1+debt)*r.span())).from(now))
	}
}

// mergePenalty adds the penalty of other, which is relative to now.
func (e *entry) mergePenalty(now ticks, other *entry) {
	most := deniedPenalty
	if e.kind == kindNetwork {
		most = networkPenaltyMax
	}
	if !e.hasPenalty() || other.penaltyUntil == 0 {
		return
	}
	if e.penaltyUntil <= now {
		e.starved = 0
	}
	e.penaltyUntil = max(e.penaltyUntil, now.add(min(time.Duration(other.penaltyUntil), most)))
	e.starved = max(e.starved, other.starved)
}

// merge adds c, whose time is relative to now. Of two passwords in one cell, the one of more accounts remains.
func (t *sprayTable) merge(now ticks, c sprayCell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.until += now
	own := t.cell(c.password)
	switch {
	case own.password == c.password && own.until > now:
		own.accounts, own.until, own.weight = own.accounts|c.accounts, max(own.until, c.until), max(own.weight, c.weight)
	case own.until <= now || bits.OnesCount64(own.accounts) < bits.OnesCount64(c.accounts):
		*own = c
	}
}

// longestCharge returns for how long a credential is charged at most: until a token is back in each bucket.
func (r *rules) longestCharge() (longest time.Duration) {
	for kd := range r.denials {
		longest = max(longest, r.denials[kd].token, r.looks[kd].token)
	}
	return longest
}
