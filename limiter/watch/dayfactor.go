package watch

import (
	"math"
	"slices"
	"time"
)

// How the level of a day is found.
const (
	factorLeast    = 0.5
	factorMost     = 2.5
	factorSuspects = 1.5  // at most, for suspects and their networks: theirs is not a day like any other, and they may want it so
	factorLag      = 7    // steps of 5 min kept: it lags half an hour behind, so that an attack does not hide its own beginning
	factorFloor    = 0.05 // a tick: so little says nothing
	factorStep     = 30   // ticks
)

// A level is how much more or less than expected today brings, in each signal: a holiday has few logins all day long.
// It forgets with a half-life of 4 h.
type dayFactor struct {
	seen     rates // mean of what came
	foreseen rates // mean of what was expected, without the level
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

// add learns from a tick that brought r where e was expected.
func (f *dayFactor) add(r, e rates) {
	share := fading(4 * time.Hour)
	f.seen = f.seen.between(r, share)
	f.foreseen = f.foreseen.between(e, share)
	if f.ticks++; f.ticks%factorStep == 0 {
		copy(f.past[1:], f.past[:factorLag-1])
		f.past[0] = f.now()
	}
}

// now returns the level that was reached just now.
func (f *dayFactor) now() (n rates) {
	for i := range n {
		ratio := (f.seen[i] + factorFloor) / (f.foreseen[i] + factorFloor)
		most := factorMost
		if i == ofSuspects || i == ofNetworks {
			most = factorSuspects
		}
		n[i] = min(max(ratio, factorLeast), most)
	}
	return n
}

// apply returns e as half an hour ago would have it for today.
func (f *dayFactor) apply(e rates) rates {
	for i, factor := range f.past[factorLag-1] {
		e[i] *= factor
	}
	return e
}

// fading returns the share that one tick has in a mean whose memory halves in half.
func fading(half time.Duration) float64 {
	return 1 - math.Exp2(-float64(tick)/float64(half))
}

// quantile returns the value that a share q of values does not exceed, and 0 if there are none. It sorts them.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}
