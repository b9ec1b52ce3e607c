package limiter

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// A kind says what an entry of the table stands for, and so which rule judges its denials.
type kind uint8

const (
	ofSource kind = iota
	ofNetwork
	kinds // how many there are
)

// block returns the part of addr that entries of kind k are found by.
func (k kind) block(addr netip.Addr) netip.Prefix {
	if k == ofSource {
		return Source(addr)
	}
	return Network(addr)
}

// A denialRule judges attempts by the denials in one bucket they fall into.
type denialRule struct {
	name    Rule
	rate    Rate
	refuses bool // when the bucket is empty; otherwise it only delays
}

// denials returns the rule that judges the denials of kind k.
func (p *Policy) denials(k kind) denialRule {
	if k == ofSource {
		return denialRule{name: RuleSource, rate: p.Source, refuses: true}
	}
	return denialRule{name: RuleNetwork, rate: p.Network}
}

// judge says what is to become of an attempt that falls into b at t and does not hold a token in it yet. The wait is
// without jitter.
func (r denialRule) judge(t time.Time, b *bucket, longest time.Duration) Verdict {
	if r.rate.off() {
		return pass
	}
	if r.refuses && b.empty(t, r.rate) {
		return refusal(r.name)
	}
	return waiting(r.name, pace(b.spent(t, r.rate), r.rate.Tokens, longest))
}

// pace returns the wait when spent of burst tokens are spent. Each step up takes a tenth of them, and a denial at least.
func pace(spent, burst int, longest time.Duration) time.Duration {
	steps := [...]time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second}
	step := min(spent, spent*10/burst)
	if step >= len(steps) {
		return longest
	}
	return min(steps[step], longest)
}

// jittered returns d and up to a fifth more, at most longest: attempts that came together should not all go on together.
func jittered(d, longest time.Duration) time.Duration {
	return min(d+rand.N(d/5+1), longest)
}
