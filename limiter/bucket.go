package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// dust is the part of a token that is overlooked: refilling is done in floating point, and a token that comes back
// after a minute must be there after a minute.
const dust = 1e-6

// A bucket is what was spent of a rate's tokens, and how many of those left are held. It is told its rate at each use;
// when that has changed, what was spent stays spent as far as the new burst goes. The zero value is full.
//
// Holds exist because a [rate.Reservation] cannot be handed back once its time to act has come.
type bucket struct {
	lim   *rate.Limiter // nil until something is spent
	holds int
}

// spent returns how many tokens are missing at t. One that is on its way back is missing until it has arrived, so a
// token spent just now counts as one. Nothing is missing when r is off.
func (b *bucket) spent(t time.Time, r Rate) int {
	if b.lim == nil || r.off() {
		return 0
	}
	b.fit(t, r)
	return missing(b.lim, t)
}

// empty reports whether no token is left at t that is not held. A bucket whose rate is off is never empty.
func (b *bucket) empty(t time.Time, r Rate) bool {
	return !r.off() && b.spent(t, r)+b.holds >= r.Tokens
}

// idle reports whether b at t is like a new one.
func (b *bucket) idle(t time.Time, r Rate) bool {
	return b.holds == 0 && b.spent(t, r) == 0
}

// spend takes a token at t, held or not. It stops at zero.
func (b *bucket) spend(t time.Time, r Rate) {
	if !r.off() && b.spent(t, r) < r.Tokens {
		b.fit(t, r)
		b.lim.ReserveN(t, 1)
	}
}

// reserve takes a token that is there at t or comes back within longest, and returns how long that takes. If it takes
// longer, nothing is taken and ok is false. r must not be off.
func (b *bucket) reserve(t time.Time, r Rate, longest time.Duration) (wait time.Duration, ok bool) {
	b.fit(t, r)
	reservation := b.lim.ReserveN(t, 1)
	if wait = reservation.DelayFrom(t); wait > longest {
		reservation.CancelAt(t)
		return 0, false
	}
	return wait, true
}

// restore puts back a token that reserve took; a full bucket stays full. It does not cancel the reservation, which
// gives nothing back once others have reserved behind it or its time has come: then callers who reserve and leave
// would keep everyone else out.
func (b *bucket) restore(t time.Time, r Rate) {
	if b.lim != nil {
		b.fit(t, r)
		b.lim.ReserveN(t, -1)
	}
}

// left returns the tokens of r that are not spent at t, below zero if some are reserved that have yet to come back.
func (b *bucket) left(t time.Time, r Rate) float64 {
	if b.lim == nil || r.off() {
		return float64(r.Tokens)
	}
	b.fit(t, r)
	return b.lim.TokensAt(t)
}

// fit makes b.lim a limiter of rate r. While r is off it stays as it is.
func (b *bucket) fit(t time.Time, r Rate) {
	old := b.lim
	if r.off() || old != nil && old.Limit() == r.limit() && old.Burst() == r.Tokens {
		return
	}
	b.lim = rate.NewLimiter(r.limit(), r.Tokens)
	if old != nil {
		b.lim.ReserveN(t, min(missing(old, t), r.Tokens))
	}
}

// missing returns how many tokens lim lacks at t, part of a token counting as a whole one.
func missing(lim *rate.Limiter, t time.Time) int {
	return max(0, int(math.Ceil(float64(lim.Burst())-lim.TokensAt(t)-dust)))
}
