package limiter

import (
	"encoding/binary"
	"math"
	"time"
)

// This file hands over what is counted by TLS fingerprint. Snapshots do not have it: after a restart, counting begins again,
// and the rule applies once enough accounts were accepted.

// appendTo appends t. Numbers are as in an export:
//
//	the durations until the periods of what is accepted and of what is denied end
//	1024 1024 registers of all accounts, of the present period and of the one before
//	v  how many fingerprints were accepted, then of each: 16 key, 64 64 registers, the age of its last login (v)
//	v  how many were denied, then of each: 16 key, v v denials, 8 8 bitmaps of prefixes, the age of the last (v)
func (t *ja4Table) appendTo(b []byte, now ticks) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	b = appendRemaining(appendRemaining(b, now.until(t.days.end)), now.until(t.hours.end))
	b = append(append(b, t.accounts.now[:]...), t.accounts.before[:]...)
	b = binary.AppendUvarint(b, uint64(len(t.accepted)))
	for k, a := range t.accepted {
		b = append(append(appendKey(b, k), a.now[:]...), a.before[:]...)
		b = appendRemaining(b, a.last.until(now))
	}
	b = binary.AppendUvarint(b, uint64(len(t.denied)))
	for k, d := range t.denied {
		b = binary.AppendUvarint(binary.AppendUvarint(appendKey(b, k), uint64(d.now)), uint64(d.before))
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, d.prefixes), d.prefixes2)
		b = appendRemaining(b, d.last.until(now))
	}
	return b
}

// readJA4s reads what appendTo has appended. Its times are relative: the ends of periods are durations, the last uses ages.
func readJA4s(rd *reader) *ja4Table {
	t := &ja4Table{accepted: map[key]*ja4Accepted{}, denied: map[key]*ja4Denied{}}
	t.days.end, t.hours.end = ticks(min(rd.remaining(), ja4AcceptedTime)), ticks(min(rd.remaining(), ja4DeniedTime))
	rd.registers(t.accounts.now[:])
	rd.registers(t.accounts.before[:])
	for range rd.count(ja4Kept) {
		k, a := rd.key(), &ja4Accepted{}
		rd.registers(a.now[:])
		rd.registers(a.before[:])
		a.last = ticks(rd.remaining())
		t.accepted[k] = a
	}
	for range rd.count(ja4Kept) {
		k := rd.key()
		d := &ja4Denied{now: uint32(rd.uvarint(math.MaxUint32)), before: uint32(rd.uvarint(math.MaxUint32))}
		d.prefixes, d.prefixes2 = rd.number(8), rd.number(8)
		d.last = ticks(rd.remaining())
		t.denied[k] = d
	}
	return t
}

// registers reads registers of addDistinct.
func (rd *reader) registers(into []uint8) {
	for i, r := range rd.octets(uint64(len(into))) {
		into[i] = r
		rd.bad = rd.bad || r > 64
	}
}

// set makes t, which must be new, what read is at now. read may be nil.
func (t *ja4Table) set(now ticks, read *ja4Table) {
	if read == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.days.end, t.hours.end = now.add(time.Duration(read.days.end)), now.add(time.Duration(read.hours.end))
	t.accounts, t.accepted, t.denied = read.accounts, read.accepted, read.denied
	t.accounts.accounts = distinctIn(t.accounts.now[:], t.accounts.before[:])
	for _, a := range t.accepted {
		a.last, a.accounts = now.add(-time.Duration(a.last)), distinctIn(a.now[:], a.before[:])
	}
	for _, d := range t.denied {
		d.last = now.add(-time.Duration(d.last))
	}
}
