package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A globalBucket is the bucket of the rule global. There is only one, and it needs no holds, so a rate.Limiter does.
// Until setLimit is called with a limit that is not off, no other method may be. It is not safe for concurrent use.
type globalBucket struct {
	limiter *rate.Limiter
	token   time.Duration // the time in which one token refills
	latest  ticks         // of all uses
}

// setLimit changes the limit. As other buckets do, b keeps the time it needs to refill, at most that of an empty bucket
// under r. A limit that is off changes nothing.
func (b *globalBucket) setLimit(now ticks, r *limit) {
	if r.off() {
		return
	}
	former, refill := b.limiter, time.Duration(0)
	if now = b.clamp(now); former != nil {
		refill = min(b.due(now, former.Burst()-1), r.span())
	}
	b.token, b.limiter = r.token, rate.NewLimiter(rate.Every(r.token), r.tokens)
	if refill > 0 { // SetLimitAt and SetBurstAt would keep the tokens and not the time
		b.limiter.AllowN(now.add(refill-r.span()).time(), r.tokens)
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
func (b *globalBucket) due(now ticks, keep int) time.Duration {
	missing := float64(1+keep) - b.left(now)
	return time.Duration(math.Round(max(missing, 0) * float64(b.token)))
}

// spend takes a token if b has keep others, and reports whether it did.
func (b *globalBucket) spend(now ticks, keep int) bool {
	if keep > 0 && b.due(now, keep) > 0 {
		return false
	}
	return b.limiter.AllowN(b.clamp(now).time(), 1)
}

// left returns how many tokens are not spent, with fractions.
func (b *globalBucket) left(now ticks) float64 {
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
