package watch

import (
	"math"
	"slices"
	"time"
)

// How the level of a day is found.
const (
	levelLeast = 0.5
	levelMost  = 2.5
	levelFoes  = 1.5  // at most, for suspects and their networks: theirs is not a day like any other, and they may want it so
	levelLag   = 7    // steps of 5 min kept: it lags half an hour behind, so that an attack does not hide its own beginning
	levelFloor = 0.05 // a tick: so little says nothing
	levelStep  = 30   // ticks
)

// A level is how much more or less than expected today brings, in each signal: a holiday has few logins all day long.
// It forgets with a half-life of 4 h.
type level struct {
	seen     rates // mean of what came
	foreseen rates // mean of what was expected, without the level
	past     [levelLag]rates
	ticks    int64
}

func newLevel() level {
	l := level{}
	for i := range l.past {
		l.past[i] = rates{1, 1, 1, 1, 1}
	}
	return l
}

// add learns from a tick that brought r where e was expected.
func (l *level) add(r, e rates) {
	share := fading(4 * time.Hour)
	l.seen = l.seen.between(r, share)
	l.foreseen = l.foreseen.between(e, share)
	if l.ticks++; l.ticks%levelStep == 0 {
		copy(l.past[1:], l.past[:levelLag-1])
		l.past[0] = l.now()
	}
}

// now returns the level that was reached just now.
func (l *level) now() (n rates) {
	for i := range n {
		ratio := (l.seen[i] + levelFloor) / (l.foreseen[i] + levelFloor)
		most := levelMost
		if i == ofSuspects || i == ofNetworks {
			most = levelFoes
		}
		n[i] = min(max(ratio, levelLeast), most)
	}
	return n
}

// apply returns e as half an hour ago would have it for today.
func (l *level) apply(e rates) rates {
	for i, factor := range l.past[levelLag-1] {
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
