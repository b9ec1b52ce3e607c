package limiter

import "time"

// rules are a Policy prepared for use. They never change; SetPolicy makes new ones.
type rules struct {
	Policy
	connect, source, network, pair, account, global limit
	reserve                                         int // tokens of global that strangers must leave
	pairUse, accountUse                             limit
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

		pairUse: p.useLimit(10, 8), accountUse: p.useLimit(15, 10),
	}
}

// useLimit returns how many logins a minute may use the reserved lane: far more than users need, far fewer than the
// lane has.
func (p *Policy) useLimit(perCent, least int) limit {
	return Rate{max(p.Global.Tokens*perCent/100, least), time.Minute}.limit(RuleNone)
}

// denialLimit returns the limit on denials for entries of kind k.
func (r *rules) denialLimit(k kind) *limit {
	switch k {
	case kindSource:
		return &r.source
	case kindNetwork:
		return &r.network
	case kindPair:
		return &r.pair
	}
	return &r.account
}

// verdict returns the verdict on an attempt that is charged to e and has no hold there yet. The wait is without jitter.
// A network may have very many users: it delays and never refuses.
func (r *rules) verdict(now ticks, e *entry) Verdict {
	limit := r.denialLimit(e.kind)
	spent := e.denials.spent(now, limit)
	if e.kind != kindNetwork && spent+int(e.holds) >= limit.tokens {
		return refusal(limit.rule)
	}
	return waiting(limit.rule, delay(spent, limit.tokens, r.WaitMax))
}

// delay returns the wait when spent of burst tokens are spent. It grows with each tenth of the tokens, but at most one
// step with each denial.
func delay(spent, burst int, longest time.Duration) time.Duration {
	steps := [...]time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second}
	step := min(spent, spent*10/burst)
	if step >= len(steps) {
		return longest
	}
	return min(steps[step], longest)
}

// jittered returns d plus up to a fifth, at most longest, so that attempts that arrived together do not all continue
// together. The jitter depends only on seed.
func jittered(d, longest time.Duration, seed uint64) time.Duration {
	seed ^= seed >> 32
	seed *= 0x9e3779b97f4a7c15 // Fibonacci hashing: similar seeds give different jitter
	fraction := float64(seed>>11) / (1 << 53)
	return min(d+time.Duration(fraction*float64(d/5)), longest)
}
