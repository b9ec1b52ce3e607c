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

// The format of an export. Numbers are big-endian, or of variable length (v), see package encoding/binary; a duration is
// a number of nanoseconds (v), from the time of the export, and zero if it is over:
//
//	17  "postern limiter 1", which includes the version. That of the events has become larger since: a process without
//	    the operations of operators drops events that come together with one
//	 v  how many octets follow of the known table: a snapshot of the current version without its checksum
//	 v  how many accounts have used the reserved lane, then of each:
//	    16 key, the duration until all its logins are back, 8 its usage as a floating-point number, see relativeUsage
//	 v  how many sources have or had several accounts, then of each:
//	    4 fingerprint, 2 age in hours, 2 accounts in the current period, 2 in the previous one
//	 v  how many passwords are followed, then of each: 4 digest, 8 bitmap of accounts, duration, 1 weight
//	    the duration until the global bucket is full
//	 v  how many entries of the table follow, of each:
//	    16 key, 1 kind, the durations of denials, looks, connects and the penalty,
//	    v v v v what the process itself has open: holds, looks, connections, those before login; 1 starved
//	 v  how many siblings there are, then of each its number (v, signed), and how many entries it has open (v), of each:
//	    16 key, v v v v what it has open
//	 *  what is counted by TLS fingerprint, see ja4Table.appendTo; a version without that ends before it
//	32  HMAC-SHA-256 of all before it, under the key of the installation
const exportMagic = "postern limiter 1"

// Export returns all that l knows at time t, except its policy, for [Limiter.Import] by a process that takes over. The
// Feed has everything that happens later, and nothing that is in data. It must be closed. Operations of l wait until
// Export is done. From then on the feeds for gateways record nothing: the process that takes over does ([Limiter.Apply]).
// If it does not, call [Limiter.ShareFeeds] again.
func (l *Limiter) Export(t time.Time) (data []byte, events *Feed) {
	data, events = l.export(t, l.exportSpace())
	return append(data, l.checksum(data)...), events
}

// exportSpace returns memory for an export: to allocate it takes a third of the time of the export.
func (l *Limiter) exportSpace() []byte {
	return make([]byte, 0, 4096+l.snapshotSize()+32*int(l.known.count.Load())+64*int(l.table.used.Load()))
}

// export appends to b what Export returns, without the checksum.
func (l *Limiter) export(t time.Time, b []byte) ([]byte, *Feed) {
	l.cut.Lock()
	defer l.cut.Unlock()
	now, v := l.epoch.ticks(t), validityAt(t, l.rules.Load().KnownTTL)
	b = append(b, exportMagic...)
	b = counted(b, func(b []byte) ([]byte, int) {
		begin := len(b)
		b = l.appendSnapshot(b, t)
		return b, len(b) - begin
	})
	b = l.known.appendUsage(b, now)
	b = l.known.sources.appendTo(b, v.now)
	b = l.sprays.appendTo(b, now)
	b = l.globalQueue.appendTo(b, now, l.rules.Load())
	b = l.appendEntries(b, now)
	b = l.siblings.appendTo(b)
	b = l.ja4s.appendTo(b, now)
	l.endShared()
	return b, l.addFeed(allOps, false)
}

// relativeUsage returns usage as it is at now, independent of the epoch: the logarithm of how many logins count.
func relativeUsage(usage float64, now ticks) float64 {
	return usage - float64(now)/float64(usageTime)
}

func (n *knownTable) appendUsage(b []byte, now ticks) []byte {
	return counted(b, func(b []byte) ([]byte, int) {
		count := 0
		for i := range n.shards {
			s := &n.shards[i]
			s.mu.Lock()
			for account, i := range s.index {
				if a := s.at(i); a.usage > 0 {
					b = appendRemaining(appendKey(b, account), now.until(ticks(a.use)))
					b = binary.BigEndian.AppendUint64(b, math.Float64bits(relativeUsage(a.usage, now)))
					count++
				}
			}
			s.mu.Unlock()
		}
		return b, count
	})
}

func (s *acceptedSources) appendTo(b []byte, now hour) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return counted(b, func(b []byte) ([]byte, int) {
		count := 0
		for f, a := range s.entries {
			if a.accounts > 1 || a.current > 1 || a.previous > 1 { // otherwise the accounts say the same
				b = binary.BigEndian.AppendUint32(b, f)
				b = binary.BigEndian.AppendUint16(b, uint16(a.at.since(now)))
				b = binary.BigEndian.AppendUint16(b, a.current)
				b = binary.BigEndian.AppendUint16(b, a.previous)
				count++
			}
		}
		return b, count
	})
}

func (t *sprayTable) appendTo(b []byte, now ticks) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return counted(b, func(b []byte) ([]byte, int) {
		count := 0
		for i := range t.cells {
			if c := &t.cells[i]; c.until > now {
				b = binary.BigEndian.AppendUint32(b, c.password)
				b = binary.BigEndian.AppendUint64(b, c.accounts)
				b = append(appendRemaining(b, now.until(c.until)), c.weight)
				count++
			}
		}
		return b, count
	})
}

func (q *globalQueue) appendTo(b []byte, now ticks, r *rules) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.global.off() {
		return appendRemaining(b, 0)
	}
	return appendRemaining(b, q.bucket.due(now, r.global.tokens-1))
}

// appendEntries appends all entries that are not idle, with what this process has open in them.
func (l *Limiter) appendEntries(b []byte, now ticks) []byte {
	return counted(b, func(b []byte) ([]byte, int) {
		count := 0
		add := func(e *entry) {
			if e.kind != kindNone && !e.idle(now) {
				b = e.appendTo(b, now, l.siblings.openIn(e.key))
				count++
			}
		}
		for i := range l.table.shared {
			s := &l.table.shared[i]
			s.mu.Lock()
			add(&s.entry)
			s.mu.Unlock()
		}
		for i := range l.table.shards {
			s := &l.table.shards[i]
			s.mu.Lock()
			for j := range s.entries {
				add(&s.entries[j])
			}
			s.mu.Unlock()
		}
		return b, count
	})
}

// appendTo appends e, of which elsewhere is what siblings have open.
func (e *entry) appendTo(b []byte, now ticks, elsewhere open) []byte {
	b = append(appendKey(b, e.key), byte(e.kind))
	for _, until := range [...]ticks{ticks(e.denials), ticks(e.looks), ticks(e.connects), e.penaltyUntil} {
		b = appendRemaining(b, now.until(until))
	}
	all := open{e.holds, uint32(e.lookHolds), e.open, e.prelogin}
	return append(all.minus(elsewhere).appendTo(b), e.starved)
}

func (o open) appendTo(b []byte) []byte {
	for _, n := range [...]uint32{o.holds, o.looks, o.connections, o.prelogin} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// openIn returns what all siblings together have open in the entry of k.
func (s *siblings) openIn(k key) (all open) {
	for _, opened := range s.of {
		all = all.plus(opened[k])
	}
	return all
}

func (s *siblings) appendTo(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = binary.AppendUvarint(b, uint64(len(s.of)))
	for n, opened := range s.of {
		b = binary.AppendUvarint(binary.AppendVarint(b, int64(n)), uint64(len(opened)))
		for k, o := range opened {
			b = o.appendTo(appendKey(b, k))
		}
	}
	return b
}

var errExportDamaged = errors.New("the export is damaged")

// exportBody returns data without format and checksum, or an error.
func (l *Limiter) exportBody(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte(exportMagic)) {
		return nil, fmt.Errorf("got format %q, want %q: the processes are of versions that cannot take over from each other",
			data[:min(len(data), len(exportMagic))], exportMagic)
	}
	if len(data) < len(exportMagic)+sha256.Size {
		return nil, errExportDamaged
	}
	body := data[:len(data)-sha256.Size]
	if !hmac.Equal(data[len(body):], l.checksum(body)) {
		return nil, errors.New("the export is damaged or was made under another key")
	}
	return body[len(exportMagic):], nil
}
