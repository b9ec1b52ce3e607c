package limiter

import "time"

// rules are a Policy made ready for use. They never change; a new policy makes new ones.
type rules struct {
	Policy
	connect, source, network, pair, account, global limit
	reserve                                         int // tokens of global that strangers must leave
	useOfPair, useOfAccount                         limit
}

func (p Policy) rules() *rules {
	return &rules{
		Policy:  p,
		connect: p.Connect.limit(RuleConnect),
		source:  p.Source.limit(RuleSource),
		network: p.Network.limit(RuleNetwork),
		pair:    p.Pair.limit(RulePair),
		account: p.Account.limit(RuleAccount),
		global:  p.Global.limit(RuleGlobal),
		reserve: max(min(p.Global.Tokens*p.KnownShare/100, p.Global.Tokens-1), 0),

		useOfPair: p.share(10, 8), useOfAccount: p.share(15, 10),
	}
}

// share returns what may be taken of the reserved lane in a minute: far more than people do, far less than the lane.
func (p *Policy) share(perCent, least int) limit {
	return Rate{max(p.Global.Tokens*perCent/100, least), time.Minute}.limit(RuleNone)
}

// denials returns the limit on the denials that entries of kind k count.
func (r *rules) denials(k kind) *limit {
	switch k {
	case ofSource:
		return &r.source
	case ofNetwork:
		return &r.network
	case ofPair:
		return &r.pair
	}
	return &r.account
}

// judge says what is to become of an attempt that falls into e and does not hold a token there yet. The wait is without
// jitter. A network may be a city: it delays and never refuses.
func (r *rules) judge(now ticks, e *entry) Verdict {
	denials := r.denials(e.kind)
	spent := e.denials.spent(now, denials)
	if e.kind != ofNetwork && spent+int(e.holds) >= denials.tokens {
		return refusal(denials.rule)
	}
	return waiting(denials.rule, pace(spent, denials.tokens, r.WaitMax))
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

// jittered returns d and up to a fifth more, at most longest: attempts that came together should not all go on
// together. chance is any number; the same gives the same.
func jittered(d, longest time.Duration, chance uint64) time.Duration {
	chance ^= chance >> 32
	chance *= 0x9e3779b97f4a7c15 // spreads neighbours far apart
	share := float64(chance>>11) / (1 << 53)
	return min(d+time.Duration(share*float64(d/5)), longest)
}
