package watch

import (
	"math"
	"math/bits"
	"strconv"
)

// A Spread estimates how many distinct things were seen, from which of 64 bits their hashes set (linear counting, Whang et
// al. 1990). It errs by a few per cent up to 60. The largest estimate is 266, for anything above about 200.
type Spread uint64

// Count returns the estimate.
func (s Spread) Count() int {
	empty := max(1, 64-bits.OnesCount64(uint64(s)))
	return int(64*math.Log(64/float64(empty)) + 0.5)
}

// MarshalText returns the bits in hexadecimal.
func (s Spread) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(s), 16), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Spread) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	*s = Spread(n)
	return err
}
