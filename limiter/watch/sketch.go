package watch

import (
	"encoding/base64"
	"errors"
	"math"
	"math/bits"
)

// sketchBits is how many bits of a hash choose a register; 2^10 of them err by 1.04/sqrt(2^10), about 3 %.
const sketchBits = 10

// A Sketch estimates how many distinct things it was shown (HyperLogLog, Flajolet et al. 2007). The zero Sketch has seen
// none. No library is used: those available have sparse forms and hash functions of their own, while an Hour needs a small
// form of fixed size with a keyed hash.
type Sketch struct {
	registers *[1 << sketchBits]uint8 // nil as long as nothing was seen
}

// see shows s a thing that has this hash.
func (s *Sketch) see(hash uint64) {
	if s.registers == nil {
		s.registers = new([1 << sketchBits]uint8)
	}
	register := &s.registers[hash>>(64-sketchBits)]
	rank := uint8(bits.LeadingZeros64(hash<<sketchBits|1<<(sketchBits-1)) + 1)
	*register = max(*register, rank)
}

// unite adds what o was shown.
func (s *Sketch) unite(o Sketch) {
	if o.registers == nil {
		return
	}
	if s.registers == nil {
		s.registers = new([1 << sketchBits]uint8)
	}
	for i, rank := range o.registers {
		s.registers[i] = max(s.registers[i], rank)
	}
}

// Count estimates how many distinct things it has seen.
func (s Sketch) Count() int {
	if s.registers == nil {
		return 0
	}
	const m = 1 << sketchBits
	sum, empty := 0.0, 0.0
	for _, rank := range s.registers {
		sum += math.Ldexp(1, -int(rank))
		if rank == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/empty) // for few things, the number of empty registers is the better estimate
	}
	return int(estimate + 0.5)
}

// MarshalText returns s in base64, or nothing if s was shown nothing.
func (s Sketch) MarshalText() ([]byte, error) {
	if s.registers == nil {
		return nil, nil
	}
	return base64.RawStdEncoding.AppendEncode(nil, s.registers[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Sketch) UnmarshalText(text []byte) error {
	*s = Sketch{}
	if len(text) == 0 {
		return nil
	}
	data, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil || len(data) != 1<<sketchBits {
		return errors.New("not a sketch")
	}
	for _, rank := range data {
		if rank > 64-sketchBits+1 {
			return errors.New("not a sketch: rank out of range")
		}
	}
	s.registers = new([1 << sketchBits]uint8)
	copy(s.registers[:], data)
	return nil
}
