package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

// ticks is a time as buckets count it: nanoseconds since 24 hours before the first time the limiter was given. It uses
// the monotonic clock if the time has one, so setting the wall clock refills nothing.
type ticks int64

// maxTicks keeps the sum of ticks and any duration of a policy far from overflow.
const maxTicks = ticks(100 * 365 * 24 * time.Hour)

// maxDebt is how many times its tokens a bucket may be in debt, for any number of gateways.
const maxDebt = 64

// epoch converts times to ticks.
type epoch struct {
	zero atomic.Pointer[time.Time] // of ticks; set by the first call
}

// ticks returns t as ticks. Times before zero count as zero.
func (o *epoch) ticks(t time.Time) ticks {
	zero := o.zero.Load()
	if zero == nil {
		zero = o.begin(t)
	}
	return min(max(ticks(t.Sub(*zero)), 0), maxTicks)
}

func (o *epoch) begin(t time.Time) *time.Time {
	t = t.Add(-24 * time.Hour)
	o.zero.CompareAndSwap(nil, &t)
	return o.zero.Load()
}

// add returns the time d after m.
func (m ticks) add(d time.Duration) ticks {
	return m + ticks(d)
}

// time returns m as a time that package rate can compare with others of m.
func (m ticks) time() time.Time {
	return time.Unix(0, int64(m))
}

// until returns the time from m to later, below zero if later is before m.
func (m ticks) until(later ticks) time.Duration {
	return time.Duration(later - m)
}

// A limit is a Rate prepared for buckets.
type limit struct {
	rule   Rule
	tokens int
	token  time.Duration // the time in which one token refills, rounded up to a nanosecond; zero if the rule is off
}

func (r Rate) limit(rule Rule) limit {
	if r.off() {
		return limit{rule: rule}
	}
	n := time.Duration(r.Tokens)
	return limit{rule: rule, tokens: r.Tokens, token: (r.Per-1)/n + 1}
}

func (r *limit) off() bool {
	return r.token == 0
}

// divided returns the limit of a part of r, of which there are n: at least one token.
func (r limit) divided(n int) limit {
	if n = min(n, maxDebt); n > 1 && !r.off() {
		r.tokens, r.token = max(r.tokens/n, 1), r.token*time.Duration(n)
	}
	return r
}

// minPart is how many tokens a part of a limit has at least, if the whole has as many: clients do not come at regular times,
// so with fewer tokens those wait for whom there is enough.
const minPart = 8

// part returns the limit of the given part of r, above 0 to 1: as much less of the rate, but at least minPart tokens.
func (r limit) part(of float64) limit {
	if of < 1 && !r.off() {
		r.tokens = max(int(float64(r.tokens)*of), min(r.tokens, minPart))
		r.token = time.Duration(min(math.Ceil(float64(r.token)/of), float64(maxDebt*maxPer)))
	}
	return r
}

// times returns the limit of n buckets of r in one.
func (r limit) times(n int) limit {
	if n > 1 && !r.off() {
		r.tokens, r.token = r.tokens*n, max(r.token/time.Duration(n), 1)
	}
	return r
}

// span is the time in which an empty bucket refills.
func (r *limit) span() time.Duration {
	return time.Duration(r.tokens) * r.token
}

// A bucket is the time at which all its tokens will be back. That is enough to tell how many are spent, and takes eight
// octets. Each use passes the limit; under a new limit a bucket keeps the time it needs to refill, at most that of an
// empty one. The zero value is full. Holds are counted beside the bucket, in its entry.
type bucket ticks

// missing returns the time until b is full, at most the span of r.
func (b bucket) missing(now ticks, r *limit) time.Duration {
	return min(max(now.until(ticks(b)), 0), r.span())
}

// spent returns how many tokens are missing. A token counts as missing until all of it is back, so a token spent just
// now counts as one. It returns zero if the rule is off.
func (b bucket) spent(now ticks, r *limit) int {
	if r.off() || ticks(b) <= now {
		return 0
	}
	return int((b.missing(now, r)-1)/r.token) + 1
}

// spend takes a token, if one is left. It never refills anything, even if now is earlier than in previous calls.
func (b *bucket) spend(now ticks, r *limit) {
	b.spendFor(now, r, r.token, 0)
}

// spendFor takes as many tokens as refill in d, or what is left of them. If others spend from b as well, it may take debt
// times as many tokens as b has when none is left: what several processes spend at the same time must not be forgotten.
func (b *bucket) spendFor(now ticks, r *limit, d time.Duration, debt int) {
	after := max(ticks(*b), now).add(d)
	*b = max(*b, bucket(min(after, now.add(time.Duration(1+debt)*r.span()))))
}

// giveBack returns a token that was spent under r.
func (b *bucket) giveBack(r *limit) {
	*b = max(*b-bucket(r.token), 0)
}
