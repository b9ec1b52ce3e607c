package recent

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// mostFrequent returns the keys other than zero that are most often in keys, at most most.
// It changes the order of keys.
func (s *topScratch) mostFrequent(keys []uint32, most int) []uint32 {
	if most == 0 {
		return nil
	}
	s.sortKeys(keys)
	type counted struct{ key, n uint32 }
	less := func(a, b counted) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.key, b.key)) }
	best := make([]counted, 0, 2*most)
	for i := 0; i < len(keys); {
		from := i
		for i < len(keys) && keys[i] == keys[from] {
			i++
		}
		c := counted{keys[from], uint32(i - from)}
		if c.key == 0 || len(best) >= most && less(c, best[most-1]) > 0 {
			continue
		}
		if best = append(best, c); len(best) == most || len(best) == 2*most {
			slices.SortFunc(best, less)
			best = best[:most]
		}
	}
	slices.SortFunc(best, less)
	frequent := make([]uint32, min(len(best), most))
	for i := range frequent {
		frequent[i] = best[i].key
	}
	return frequent
}

// The sort of keys goes by 11 bits at a time. It takes a fifth of the time of slices.Sort,
// and less than a table of counts, most of which would not be in the processor's cache.
const (
	digitBits = 11
	digits    = (32 + digitBits - 1) / digitBits
)

// sortKeys sorts keys.
func (s *topScratch) sortKeys(keys []uint32) {
	var starts [digits][1 << digitBits]uint32
	for _, key := range keys {
		for d := range digits {
			starts[d][key>>(d*digitBits)%(1<<digitBits)]++
		}
	}
	s.sort = slices.Grow(s.sort[:0], len(keys))[:len(keys)]
	from, to := keys, s.sort
	for d := range digits {
		sum := uint32(0)
		for i, n := range starts[d] {
			starts[d][i] = sum
			sum += n
		}
		for _, key := range from {
			at := &starts[d][key>>(d*digitBits)%(1<<digitBits)]
			to[*at] = key
			*at++
		}
		from, to = to, from
	}
	copy(keys, from) // digits is odd
}

// distinctExact is how many different keys are counted exactly.
const distinctExact = 8

// A distinct counts different keys: up to distinctExact exactly, and more by linear
// counting (Whang and others, 1990): n keys choose bits, and the share of bits that is not
// chosen tells n. The error is about 1 % for tens of thousands.
type distinct struct {
	few  [distinctExact]uint32
	n    int // of few
	bits []uint64
}

// distinctLen is the length of bits.
const distinctLen = 1 << 10

// add counts a key; zero is none.
func (d *distinct) add(key uint32) {
	if d.bits != nil {
		d.choose(key)
		return
	}
	if key == 0 || slices.Contains(d.few[:d.n], key) {
		return
	}
	if d.n < distinctExact {
		d.few[d.n] = key
		d.n++
		return
	}
	d.bits = make([]uint64, distinctLen)
	for _, k := range append(d.few[:], key) {
		d.choose(k)
	}
}

// choose sets the bit of a key other than zero.
func (d *distinct) choose(key uint32) {
	if key != 0 {
		d.bits[key>>6%distinctLen] |= 1 << (key & 63)
	}
}

// count is how many different keys there were.
func (d *distinct) count() int {
	if d.bits == nil {
		return d.n
	}
	free := 0
	for _, b := range d.bits {
		free += bits.OnesCount64(^b)
	}
	const all = distinctLen * 64
	return max(d.n+1, int(math.Round(-all*math.Log(float64(max(free, 1))/all))))
}
