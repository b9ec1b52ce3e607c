package watch

import (
	"encoding/base64"
	"errors"
	"math"
	"net/netip"
	"strconv"

	"postern/limiter/internal/hyperloglog"
)

// The sizes of what estimates the number of distinct things.
const (
	sketchBits = 10 // a Sketch has 2^10 registers: standard error 1.04/sqrt(2^10), about 3 %
	spreadBits = 6  // a Spread has 2^6 registers: standard error 13 %
	spreadRank = 15 // the highest rank that a Spread keeps: a register has four bits
)

// estimate returns about how many distinct things gave the registers these ranks.
func estimate(ranks []uint8) int { return int(hyperloglog.Estimate(ranks) + 0.5) }

// A Sketch estimates the number of distinct things in 1 KB. The zero Sketch is empty.
type Sketch struct {
	ranks *[1 << sketchBits]uint8 // nil if empty
}

// add adds a thing with this hash.
func (s *Sketch) add(hash uint64) {
	if s.ranks == nil {
		s.ranks = new([1 << sketchBits]uint8)
	}
	register, rank := hyperloglog.Rank(hash, sketchBits)
	s.ranks[register] = max(s.ranks[register], rank)
}

// merge adds everything that was added to o.
func (s *Sketch) merge(o Sketch) {
	if o.ranks == nil {
		return
	}
	if s.ranks == nil {
		s.ranks = new([1 << sketchBits]uint8)
	}
	for i, rank := range o.ranks {
		s.ranks[i] = max(s.ranks[i], rank)
	}
}

// Count returns the estimate.
func (s Sketch) Count() int {
	if s.ranks == nil {
		return 0
	}
	return estimate(s.ranks[:])
}

// MarshalText returns the ranks in base64, or nothing if s is empty.
func (s Sketch) MarshalText() ([]byte, error) {
	if s.ranks == nil {
		return nil, nil
	}
	return base64.RawStdEncoding.AppendEncode(nil, s.ranks[:]), nil
}

// UnmarshalText reads the form of MarshalText.
func (s *Sketch) UnmarshalText(text []byte) error {
	*s = Sketch{}
	if len(text) == 0 {
		return nil
	}
	data, err := decode(text, 1<<sketchBits)
	if err != nil {
		return err
	}
	for _, rank := range data {
		if rank > 64-sketchBits+1 {
			return errors.New("not a sketch: rank out of range")
		}
	}
	s.ranks = (*[1 << sketchBits]uint8)(data)
	return nil
}

// A networkSketch is a Sketch of networks that samples them: each register keeps the network that gave it its highest
// rank. So every network is equally likely to be in the sample, however often and however early it came.
type networkSketch struct {
	Sketch
	kept [1 << sketchBits]keptNetwork
}

// A keptNetwork is the network of a register.
type keptNetwork struct {
	hash    uint64
	network netip.Prefix
}

// add adds a network with this hash. In one register all hashes begin with the same bits, so the smallest hash has the
// highest rank; it also decides between networks of the same rank.
func (s *networkSketch) add(network netip.Prefix, hash uint64) {
	s.Sketch.add(hash)
	register, _ := hyperloglog.Rank(hash, sketchBits)
	if kept := &s.kept[register]; !kept.network.IsValid() || hash < kept.hash {
		*kept = keptNetwork{hash, network}
	}
}

// sample returns at most n of the networks.
func (s *networkSketch) sample(n int) (networks []netip.Prefix) {
	for i := range s.kept {
		if network := s.kept[i].network; network.IsValid() && len(networks) < n {
			networks = append(networks, network)
		}
	}
	return networks
}

// A Spread estimates the number of distinct things in 32 octets, two registers in each. The zero Spread is empty.
type Spread [1 << spreadBits / 2]uint8

// add adds a thing with this hash.
func (s *Spread) add(hash uint64) {
	s.raise(hyperloglog.Rank(hash, spreadBits))
}

// raise sets the rank of a register if it is higher.
func (s *Spread) raise(register int, rank uint8) {
	shift := register % 2 * 4
	if rank = min(rank, spreadRank); rank > s[register/2]>>shift&spreadRank {
		s[register/2] = s[register/2]&^(spreadRank<<shift) | rank<<shift
	}
}

// ranks returns the rank of each register.
func (s *Spread) ranks() (ranks [1 << spreadBits]uint8) {
	for i, pair := range s {
		ranks[2*i], ranks[2*i+1] = pair&spreadRank, pair>>4
	}
	return ranks
}

// merge adds everything that was added to o.
func (s *Spread) merge(o Spread) {
	for register, rank := range o.ranks() {
		s.raise(register, rank)
	}
}

// Count returns the estimate.
func (s Spread) Count() int {
	ranks := s.ranks()
	return estimate(ranks[:])
}

// MarshalText returns the ranks in base64, or nothing if s is empty.
func (s Spread) MarshalText() ([]byte, error) {
	if s == (Spread{}) {
		return nil, nil
	}
	return base64.RawStdEncoding.AppendEncode(nil, s[:]), nil
}

// UnmarshalText reads the form of MarshalText, and the form of earlier versions, which is shorter.
func (s *Spread) UnmarshalText(text []byte) error {
	*s = Spread{}
	if len(text) == 0 {
		return nil
	}
	if len(text) <= 16 {
		return s.unmarshalBitmap(text)
	}
	data, err := decode(text, len(s))
	copy(s[:], data)
	return err
}

// unmarshalBitmap reads the form of earlier versions: a bitmap in hexadecimal, with one bit for each register that is not
// empty. A set bit is read as rank 1. A full bitmap was estimated as 266; the ranks it is read as give the same.
func (s *Spread) unmarshalBitmap(text []byte) error {
	bitmap, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return errors.New("not a sketch: neither base64 nor a bitmap in hexadecimal")
	}
	for register := range 1 << spreadBits {
		switch {
		case bitmap == math.MaxUint64 && register < 37:
			s.raise(register, 2)
		case bitmap == math.MaxUint64:
			s.raise(register, 4)
		case bitmap>>register&1 == 1:
			s.raise(register, 1)
		}
	}
	return nil
}

// decode decodes base64 that must have so many octets.
func decode(text []byte, size int) ([]byte, error) {
	data, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil {
		return nil, errors.New("not a sketch: not base64")
	}
	if len(data) != size {
		return nil, errors.New("not a sketch: got " + strconv.Itoa(len(data)) + " octets, want " + strconv.Itoa(size))
	}
	return data, nil
}
