package limiter

import "time"

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
	after := max(ticks(*b), now).add(r.token)
	*b = max(*b, bucket(min(after, now.add(r.span()))))
}
