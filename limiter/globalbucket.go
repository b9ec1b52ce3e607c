package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A globalBucket is the bucket of the rule global. There is one, and it holds nothing back for open attempts, so a
// rate.Limiter does. The zero value has no limit. It is not safe for concurrent use.
type globalBucket struct {
	limiter *rate.Limiter // nil until the rule is on
	latest  ticks         // of all uses
}

// setLimit changes the limit. As other buckets do, b keeps the time it needs to refill, at most that of an empty bucket
// under r. A limit that is off leaves b alone.
func (b *globalBucket) setLimit(now ticks, r *limit) {
	if r.off() {
		return
	}
	t, former, span := b.clamp(now).time(), b.limiter, r.span()
	b.limiter = rate.NewLimiter(rate.Every(r.token), r.tokens) // full; SetLimitAt and SetBurstAt would keep the tokens left
	if former != nil {
		missing := (float64(former.Burst()) - former.TokensAt(t)) / float64(former.Limit()) // in seconds
		refill := min(time.Duration(missing*float64(time.Second)), span)
		b.limiter.AllowN(t.Add(refill-span), r.tokens) // empty so long ago that refill is what is left
	}
}

// clamp returns now, or the latest time of an earlier use if that is later: a rate.Limiter that is used at an earlier
// time refills the time since then twice.
func (b *globalBucket) clamp(now ticks) ticks {
	b.latest = max(b.latest, now)
	return b.latest
}

// due returns the time until b has one token beside keep others, zero if it has. It is rounded to a nanosecond, because
// TokensAt is not exact.
func (b *globalBucket) due(now ticks, keep int, r *limit) time.Duration {
	missing := float64(1+keep) - b.limiter.TokensAt(b.clamp(now).time())
	return time.Duration(math.Round(max(missing, 0) * float64(r.token)))
}

// spend takes a token if b has keep others, and reports whether it did.
func (b *globalBucket) spend(now ticks, keep int, r *limit) bool {
	if keep > 0 && b.due(now, keep, r) > 0 {
		return false
	}
	return b.limiter.AllowN(b.clamp(now).time(), 1)
}

// left returns how many tokens are not spent, with fractions; zero if the rule is off.
func (b *globalBucket) left(now ticks, r *limit) float64 {
	if r.off() {
		return 0
	}
	return b.limiter.TokensAt(b.clamp(now).time())
}

// reserve returns how many tokens strangers must leave at time t.
func (l *Limiter) reserve(t time.Time, r *rules) int {
	if !l.known.learned(t) {
		return 0
	}
	return r.reserve
}

// margin returns how many tokens beside the reserve penalized strangers must leave, so that one without a penalty
// usually need not wait.
func margin(r *rules, reserve int) int {
	return (r.global.tokens - reserve) / 4
}

// mustLeave returns how many tokens an attempt of class c must leave.
func mustLeave(c class, reserve int, r *rules) int {
	switch c {
	case classKnown:
		return 0
	case classPenalized:
		return reserve + margin(r, reserve)
	}
	return reserve
}

// demote gives a known attempt the priority of a stranger if its account, or its source on that account, has used its
// share of the reserved lane.
func (k *Ticket) demote(now ticks, r *rules) {
	s := &k.subject
	if !k.priority.Known() {
		return
	}
	e, mu := k.limiter.table.findOrAdd(now, s.keys[kindUse], kindUse, r.TableMax)
	if e != nil {
		defer mu.Unlock()
	}
	if e != nil && e.denials.spent(now, &r.pairUse) >= r.pairUse.tokens || !k.limiter.known.spendUse(now, s.keys[kindAccount], &r.accountUse) {
		k.priority = Priority{class: classUnpenalized, flow: s.keys[kindAccount]}
		return
	}
	if e != nil {
		e.denials.spend(now, &r.pairUse)
	}
}
