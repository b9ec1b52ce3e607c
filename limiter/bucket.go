package limiter

import "time"

// A limit is a Rate made ready for buckets.
type limit struct {
	rule   Rule
	tokens int
	token  time.Duration // what one token takes to come back, rounded up to a nanosecond; zero if the rule is off
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

// span is the time in which an empty bucket refills.
func (r *limit) span() time.Duration {
	return time.Duration(r.tokens) * r.token
}

// A bucket is the moment when all its tokens will be back. That says how many are spent, whatever was spent when, and
// takes eight octets. It is told its limit at each use; under a new one it keeps the time it needs, at most the time an
// empty one needs. The zero value is full.
//
// golang.org/x/time/rate would need ten times the memory and a lock of its own for each, and cannot hand back a token
// whose time to act has come, which is what holds are about. Those are counted beside the bucket.
type bucket ticks

// missing returns the time until b is full, at most the span of r.
func (b bucket) missing(now ticks, r *limit) time.Duration {
	return min(max(now.until(ticks(b)), 0), r.span())
}

// spent returns how many tokens are missing. One that is on its way back is missing until it has arrived, so a token
// spent just now counts as one. Nothing is missing where the rule is off.
func (b bucket) spent(now ticks, r *limit) int {
	if r.off() || ticks(b) <= now {
		return 0
	}
	return int((b.missing(now, r)-1)/r.token) + 1
}

// left returns the tokens that are not spent, with fractions.
func (b bucket) left(now ticks, r *limit) float64 {
	if r.off() {
		return 0
	}
	return float64(r.tokens) - float64(b.missing(now, r))/float64(r.token)
}

// spend takes a token. It stops at zero, and never refills anything: not even if now is before what others said it is.
func (b *bucket) spend(now ticks, r *limit) {
	after := max(ticks(*b), now).add(r.token)
	*b = max(*b, bucket(min(after, now.add(r.span()))))
}

// due returns how long it is until a token is there beside keep others, below zero if it has been there for some time.
func (b bucket) due(now ticks, r *limit, keep int) time.Duration {
	return now.until(ticks(b)) - time.Duration(r.tokens-1-keep)*r.token
}
