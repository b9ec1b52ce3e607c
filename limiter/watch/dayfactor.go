package watch

import (
	"math"
	"slices"
	"time"
)

// The bounds and speeds of a dayFactor.
const (
	factorLeast    = 0.5
	factorMost     = 2.5
	factorSuspects = 1.5  // the most for suspects and their networks, because attackers can raise these
	factorLag      = 7    // steps of 5 min kept: the factor in use is half an hour old, so that an attack does not change it at once
	factorFloor    = 0.05 // added to both rates, so that small ones do not give extreme factors
	factorStep     = 30   // ticks in a step
)

// A dayFactor is the ratio of today's rates to the expected rates, of each signal: a holiday has few logins all day. Its
// means have a half-life of 4 h.
type dayFactor struct {
	observed rates // mean
	expected rates // mean, without the factor
	past     [factorLag]rates
	ticks    int64
}

func newDayFactor() dayFactor {
	f := dayFactor{}
	for i := range f.past {
		f.past[i] = rates{1, 1, 1, 1, 1}
	}
	return f
}

// add adds a tick with rates r where e was expected.
func (f *dayFactor) add(r, e rates) {
	share := fading(4 * time.Hour)
	f.observed = f.observed.between(r, share)
	f.expected = f.expected.between(e, share)
	if f.ticks++; f.ticks%factorStep == 0 {
		copy(f.past[1:], f.past[:factorLag-1])
		f.past[0] = f.now()
	}
}

// now returns the present factors.
func (f *dayFactor) now() (n rates) {
	for i := range n {
		ratio := (f.observed[i] + factorFloor) / (f.expected[i] + factorFloor)
		most := factorMost
		if i == ofSuspects || i == ofNetworks {
			most = factorSuspects
		}
		n[i] = min(max(ratio, factorLeast), most)
	}
	return n
}

// apply returns e times the factors of half an hour ago.
func (f *dayFactor) apply(e rates) rates {
	for i, factor := range f.past[factorLag-1] {
		e[i] *= factor
	}
	return e
}

// fading returns the weight of one tick in a running mean with this half-life.
func fading(half time.Duration) float64 {
	return 1 - math.Exp2(-float64(tick)/float64(half))
}

// quantile returns the value that a share q of values does not exceed, or 0 if there are none. It sorts values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}
