package limiter

import (
	"encoding/binary"
	"math"
	"time"
)

// appendKey appends k in 16 octets.
func appendKey(b []byte, k key) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, k.hi), k.lo)
}

// appendRemaining appends the time until something ends, zero if it has ended.
func appendRemaining(b []byte, d time.Duration) []byte {
	return binary.AppendUvarint(b, uint64(min(max(d, 0), maxRemaining)))
}

// counted appends to b what do appends, after the number it returns.
func counted(b []byte, do func([]byte) (rest []byte, n int)) []byte {
	at := len(b)
	b = append(b, make([]byte, binary.MaxVarintLen32)...)
	b, n := do(b)
	putUvarint(b[at:at+binary.MaxVarintLen32], uint64(n))
	return b
}

// putUvarint stores n in all of b, as a number of variable length with leading zeros.
func putUvarint(b []byte, n uint64) {
	for i := range b {
		b[i] = byte(n) | 0x80
		n >>= 7
	}
	b[len(b)-1] &^= 0x80
}

// A reader reads what snapshots, exports and events have. After a read past the end, or of a value out of bounds, bad is set
// and every number is zero.
type reader struct {
	rest []byte
	bad  bool
}

// number reads a big-endian number of size octets.
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

// key reads what appendKey has appended.
func (rd *reader) key() key {
	return key{rd.number(8), rd.number(8)}
}

// kind reads the kind of an entry.
func (rd *reader) kind() kind {
	k := kind(rd.number(1))
	rd.bad = rd.bad || k == kindNone || k >= kindCount
	return k
}

// remaining reads what appendRemaining has appended.
func (rd *reader) remaining() time.Duration {
	return time.Duration(rd.uvarint(uint64(maxRemaining)))
}

// uvarint reads a number of variable length, at most most.
func (rd *reader) uvarint(most uint64) uint64 {
	n, size := binary.Uvarint(rd.rest)
	if rd.bad = rd.bad || size <= 0 || n > most; rd.bad {
		return 0
	}
	rd.rest = rd.rest[size:]
	return n
}

// octets reads n octets.
func (rd *reader) octets(n uint64) []byte {
	if rd.bad = rd.bad || n > uint64(min(len(rd.rest), math.MaxInt)); rd.bad {
		return nil
	}
	b := rd.rest[:n]
	rd.rest = rd.rest[n:]
	return b
}

// count returns the numbers from zero to below one that it reads, which is at most most. Each stands for something that
// takes an octet at least.
func (rd *reader) count(most uint64) func(yield func(int) bool) {
	n := int(rd.uvarint(min(most, uint64(len(rd.rest)))))
	return func(yield func(int) bool) {
		for i := 0; i < n && !rd.bad && yield(i); i++ {
		}
	}
}

// varint reads a signed number of variable length.
func (rd *reader) varint() int {
	n, size := binary.Varint(rd.rest)
	if rd.bad = rd.bad || size <= 0; rd.bad {
		return 0
	}
	rd.rest = rd.rest[size:]
	return int(n)
}
