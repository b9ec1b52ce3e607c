// Package hyperloglog estimates the number of distinct things (Flajolet et al. 2007). A keyed hash of each thing selects
// a register by its first bits. The register keeps the highest rank: one more than the number of zeros that the other bits
// begin with. The standard error is 1.04/sqrt(n) with n registers. No library is used: those available have sparse forms
// and hash functions of their own, while callers need registers of fixed size and keyed hashes.
package hyperloglog

import (
	"math"
	"math/bits"
)

// Rank returns the register that hash selects by its first bits, precision of them, and the rank of the others.
func Rank(hash uint64, precision int) (register int, rank uint8) {
	return int(hash >> (64 - precision)), uint8(bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1)
}

// Estimate returns about how many distinct things gave the registers these ranks.
func Estimate(ranks []uint8) float64 {
	m, sum, empty := float64(len(ranks)), 0.0, 0.0
	for _, rank := range ranks {
		sum += math.Ldexp(1, -int(rank))
		if rank == 0 {
			empty++
		}
	}
	n := 0.7213 / (1 + 1.079/m) * m * m / sum
	if n <= 2.5*m && empty > 0 {
		n = m * math.Log(m/empty) // linear counting: better for few things
	}
	return n
}
