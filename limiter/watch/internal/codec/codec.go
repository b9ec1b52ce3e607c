// Package codec encodes the state of a watch for another process, and decodes it there. One function lists the fields of a
// struct for both directions: it passes a pointer to each field to a [Codec], which appends the value or sets it. So a field
// is in both directions or in none.
//
// A Codec that decodes trusts nothing: lengths are bounded by the caller and by what is left of the data, numbers are
// finite, and after the first error every value is zero. What the values mean together, the caller checks. A Codec that
// encodes keeps these bounds, so that what it encodes can be decoded.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// intMost bounds integers in both directions. It leaves room to count on without an overflow.
const intMost = 1 << 56

// A Codec encodes or decodes.
type Codec struct {
	data    []byte // encoded so far, or still to be decoded
	reading bool
	zone    *time.Location
	err     error
}

// Encoder returns a Codec that appends to data. Times in zone are decoded in the zone of the decoder.
func Encoder(data []byte, zone *time.Location) *Codec { return &Codec{data: data, zone: zone} }

// Decoder returns a Codec that decodes data.
func Decoder(data []byte, zone *time.Location) *Codec {
	return &Codec{data: data, reading: true, zone: zone}
}

// Decoding reports whether c decodes.
func (c *Codec) Decoding() bool { return c.reading }

// Data returns what was encoded, or what is left to decode.
func (c *Codec) Data() []byte { return c.data }

// Err returns the first error of decoding.
func (c *Codec) Err() error { return c.err }

// Check fails if ok is false: name is the value that is wrong. When encoding it does nothing.
func (c *Codec) Check(ok bool, name string) {
	if c.reading && !ok {
		c.fail(fmt.Errorf("%s out of range", name))
	}
}

// fail keeps the first error. Nothing is decoded after it.
func (c *Codec) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.data = nil
}

// errShort is the error of data that ends too early.
var errShort = errors.New("the data ends too early")

// take returns the next n octets, or nil if there are not so many.
func (c *Codec) take(n int) []byte {
	if n > len(c.data) {
		c.fail(errShort)
		return nil
	}
	taken := c.data[:n]
	c.data = c.data[n:]
	return taken
}

// octet codes one octet.
func (c *Codec) octet(v *byte) {
	if !c.reading {
		c.data = append(c.data, *v)
		return
	}
	*v = 0
	if b := c.take(1); b != nil {
		*v = b[0]
	}
}

// varint codes a signed integer in as few octets as it needs.
func (c *Codec) varint(v *int64) {
	if !c.reading {
		c.data = binary.AppendVarint(c.data, *v)
		return
	}
	n := 0
	*v, n = binary.Varint(c.data)
	if n <= 0 {
		*v, n = 0, len(c.data)+1
	}
	c.take(n)
}

// Integer is any type of integers that [Int] and [Count] code.
type Integer interface {
	~int | ~int64 | ~uint8 | ~uint16 | ~uint32
}

// Int codes an integer that may be negative.
func Int[T Integer](c *Codec, v *T) {
	n := min(max(int64(*v), -intMost), intMost)
	c.varint(&n)
	if !c.reading {
		return
	}
	*v = T(n)
	if n > intMost || n < -intMost || int64(*v) != n {
		*v = 0
		c.fail(errors.New("integer out of range"))
	}
}

// Count codes an integer that is not negative.
func Count[T Integer](c *Codec, v *T) {
	n := max(*v, 0)
	Int(c, &n)
	if c.reading && n < 0 {
		n = 0
		c.fail(errors.New("negative count"))
	}
	if c.reading {
		*v = n
	}
}

// Hash codes an integer all of whose bits are random.
func (c *Codec) Hash(v *uint64) {
	if !c.reading {
		c.data = binary.LittleEndian.AppendUint64(c.data, *v)
		return
	}
	*v = 0
	if data := c.take(8); data != nil {
		*v = binary.LittleEndian.Uint64(data)
	}
}

// Fixed codes a slice of fixed length, whose integers may have any value.
func Fixed[T uint8 | uint16 | uint64](c *Codec, numbers []T) {
	if !c.reading {
		c.data, _ = binary.Append(c.data, binary.LittleEndian, numbers) // never fails for integers
		return
	}
	data := c.take(binary.Size(numbers))
	if data == nil {
		clear(numbers)
		return
	}
	_, _ = binary.Decode(data, binary.LittleEndian, numbers)
}

// Floats codes numbers, which must be finite.
func (c *Codec) Floats(numbers ...*float64) {
	for _, v := range numbers {
		bits := math.Float64bits(*v)
		if !c.reading && !plausible(*v) {
			bits = 0
		}
		if c.Hash(&bits); !c.reading {
			continue
		}
		if *v = math.Float64frombits(bits); !plausible(*v) {
			*v = 0
			c.fail(errors.New("number out of range"))
		}
	}
}

// plausible reports whether v is a number that can have been counted or computed.
func plausible(v float64) bool { return !math.IsNaN(v) && math.Abs(v) <= 1e15 }

// Bools codes truth values.
func (c *Codec) Bools(values ...*bool) {
	for _, v := range values {
		var b byte
		if *v {
			b = 1
		}
		c.octet(&b)
		*v = b == 1
	}
}

// String codes a text of at most so many octets.
func String[T ~string](c *Codec, v *T, most int) {
	n := c.length(min(len(*v), most), most)
	if !c.reading {
		c.data = append(c.data, (*v)[:n]...)
		return
	}
	*v = T(c.take(n))
}

// length codes a length, which is at most so large, and returns it. Each thing counted must have an octet of its own at
// least.
func (c *Codec) length(n, most int) int {
	if Count(c, &n); !c.reading {
		return n
	}
	if n > most || n > len(c.data) {
		c.fail(fmt.Errorf("got a length of %d, want at most %d, with %d octets left", n, most, len(c.data)))
		return 0
	}
	return n
}

// Slice codes a slice of at most so many elements, each by code, which must code something.
func Slice[T any](c *Codec, v *[]T, most int, code func(*T)) {
	n := c.length(min(len(*v), most), most)
	if c.reading {
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range n {
		code(&(*v)[i])
	}
}

// Map codes a map of at most so many entries, each by code.
func Map[K comparable, V any](c *Codec, v *map[K]V, most int, code func(*K, *V)) {
	n := c.length(min(len(*v), most), most)
	if !c.reading {
		for key, value := range *v {
			if n--; n < 0 {
				return
			}
			code(&key, &value)
		}
		return
	}
	*v = make(map[K]V, n)
	for range n {
		var key K
		var value V
		code(&key, &value)
		if c.err != nil {
			return
		}
		(*v)[key] = value
	}
}

// How the zone of a time is coded.
const (
	zeroTime = iota
	inUTC
	inZone // of the Codec
	inLocal
	inOffset // from UTC, which follows
)

// Times codes times. A time in no known zone keeps its offset from UTC.
func (c *Codec) Times(times ...*time.Time) {
	for _, t := range times {
		c.time(t)
	}
}

// time codes one time.
func (c *Codec) time(t *time.Time) {
	kind, seconds, nanos, offset := byte(inOffset), t.Unix(), int64(t.Nanosecond()), int64(0)
	switch at := t.Location(); {
	case t.IsZero():
		kind = zeroTime
	case at == c.zone:
		kind = inZone
	case at == time.UTC:
		kind = inUTC
	case at == time.Local:
		kind = inLocal
	}
	if c.octet(&kind); kind == zeroTime {
		*t = time.Time{}
		return
	}
	c.varint(&seconds)
	c.varint(&nanos)
	if kind == inOffset {
		_, east := t.Zone()
		offset = int64(east)
		c.varint(&offset)
	}
	if !c.reading {
		return
	}
	c.Check(kind <= inOffset && seconds > -1<<36 && seconds < 1<<38 && nanos >= 0 && nanos < 1e9 && max(offset, -offset) < 24*3600, "time")
	if *t = (time.Time{}); c.err != nil {
		return
	}
	switch *t = time.Unix(seconds, nanos); kind {
	case inUTC:
		*t = t.UTC()
	case inZone:
		*t = t.In(c.zone)
	case inOffset:
		*t = t.In(time.FixedZone("", int(offset)))
	}
}

// Prefix codes a network, which may be invalid as the zero value is.
func (c *Codec) Prefix(v *netip.Prefix) {
	text := []byte(nil)
	if !c.reading {
		text, _ = v.MarshalBinary() // never fails
	}
	n := c.length(len(text), 32)
	if !c.reading {
		c.data = append(c.data, text...)
		return
	}
	if err := v.UnmarshalBinary(c.take(n)); err != nil {
		*v = netip.Prefix{}
		c.fail(err)
	}
}
