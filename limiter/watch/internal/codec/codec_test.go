package codec

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// values has one value of each kind.
type values struct {
	Small  uint8
	Signed int64
	Count  int
	Hash   uint64
	Big    [2]uint64
	Short  [3]uint16
	Octets [2]byte
	Float  float64
	Yes    bool
	Text   string
	List   []int
	Map    map[string]int
	Times  [5]time.Time
	Prefix [3]netip.Prefix
}

// code encodes or decodes v.
func (v *values) code(c *Codec) {
	Count(c, &v.Small)
	Int(c, &v.Signed)
	Count(c, &v.Count)
	c.Hash(&v.Hash)
	Fixed(c, v.Big[:])
	Fixed(c, v.Short[:])
	Fixed(c, v.Octets[:])
	c.Floats(&v.Float)
	c.Bools(&v.Yes)
	String(c, &v.Text, 8)
	Slice(c, &v.List, 4, func(n *int) { Int(c, n) })
	Map(c, &v.Map, 4, func(key *string, n *int) {
		String(c, key, 8)
		Count(c, n)
	})
	for i := range v.Times {
		c.Times(&v.Times[i])
	}
	for i := range v.Prefix {
		c.Prefix(&v.Prefix[i])
	}
}

// zone is the zone of the codecs.
var zone = time.FixedZone("here", 3600)

// example returns values that are not zero.
func example() *values {
	at := time.Date(2026, 3, 29, 1, 30, 0, 5, time.UTC)
	return &values{
		200, -5, 1 << 40, math.MaxUint64, [2]uint64{1, math.MaxUint64}, [3]uint16{1, 2, 65535}, [2]byte{3, 255}, -1.0 / 3, true, "eight oc",
		[]int{-1, 0, 1, 2}, map[string]int{"a": 1, "b": 2},
		[5]time.Time{{}, at, at.In(zone), at.In(time.Local), at.In(time.FixedZone("", -7200))},
		[3]netip.Prefix{{}, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}
}

// encoded returns v, encoded.
func (v *values) encoded() []byte {
	c := Encoder([]byte("before"), zone)
	v.code(c)
	return c.Data()[len("before"):]
}

func TestValuesAreTheSameAfterDecoding(t *testing.T) {
	data := example().encoded()
	got, c := &values{Map: map[string]int{"c": 3}, List: []int{9, 9, 9, 9, 9}}, Decoder(data, zone)
	got.code(c)
	if want := example(); c.Err() != nil || len(c.Data()) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, c.Err(), want)
	}
	for n := range data {
		c := Decoder(data[:n], zone)
		if (&values{}).code(c); c.Err() == nil {
			t.Errorf("accepted the first %d of %d octets", n, len(data))
		}
	}
}

// TestEncoderKeepsTheBoundsOfTheDecoder: values that a decoder would refuse are encoded as others.
func TestEncoderKeepsTheBoundsOfTheDecoder(t *testing.T) {
	for _, change := range []func(*values){
		func(v *values) { v.Count = -1 },
		func(v *values) { v.Count = math.MaxInt },
		func(v *values) { v.Signed = math.MinInt64 },
		func(v *values) { v.Float = math.NaN() },
		func(v *values) { v.Float = math.Inf(-1) },
		func(v *values) { v.Text += "tets" },
		func(v *values) { v.List = append(v.List, 5) },
		func(v *values) { v.Map["c"], v.Map["d"], v.Map["e"] = 1, 2, 3 },
	} {
		v := example()
		change(v)
		c := Decoder(v.encoded(), zone)
		if (&values{}).code(c); c.Err() != nil || len(c.Data()) > 0 {
			t.Errorf("%+v: %v", v, c.Err())
		}
	}
}

// FuzzDecoder: no data makes a decoder panic, and what it accepts is the same when it is encoded and decoded again.
func FuzzDecoder(f *testing.F) {
	f.Add(example().encoded())
	f.Fuzz(func(t *testing.T, data []byte) {
		v, c := &values{}, Decoder(data, zone)
		if v.code(c); c.Err() != nil {
			return
		}
		again, c := &values{}, Decoder(v.encoded(), zone)
		if again.code(c); c.Err() != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("got %+v, %v, want %+v", again, c.Err(), v)
		}
	})
}
