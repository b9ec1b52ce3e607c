package limiter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The largest values of a Policy.
const (
	maxWait      = 15 * time.Second     // some mail programs give up after 20 s without an answer
	maxRepeatTTL = time.Hour            // a corrected password must work again within this time
	maxKnownTTL  = 366 * 24 * time.Hour // the known table counts hours in 16 bits
)

// A Policy holds the limits of a [Limiter]. A zero Rate or count switches its rule off.
type Policy struct {
	Connect      Rate           // new connections of one source
	Open         int            // open connections of one source
	OpenPrelogin int            // of those, the ones that have not logged in
	Source       Rate           // denials of one source
	Network      Rate           // denials of one network; these only delay
	Pair         Rate           // denials of one source on one account
	Account      Rate           // denials of strangers on one account
	Global       Rate           // logins that reach backends
	KnownShare   int            // per cent of Global's tokens that are reserved for the known
	RepeatTTL    time.Duration  // for how long a denied credential is denied again from the same source without a backend
	KnownTTL     time.Duration  // for how long an accepted login makes later ones known
	WaitMax      time.Duration  // longest wait of one attempt, at most 15 s; zero means that no attempt waits
	Exempt       []netip.Prefix // addresses to which only Account and Global apply
	Attack       bool           // the site is under attack: new sources in one wide prefix share a budget of denials
	TableMax     int            // the largest number of buckets of strangers, and of known accounts; at least 1
}

// validated returns a copy of p ready for use, or an error that names the field that is wrong.
func (p Policy) validated() (Policy, error) {
	exempt := make([]netip.Prefix, len(p.Exempt))
	for i, prefix := range p.Exempt {
		if exempt[i] = unmapped(prefix); !exempt[i].IsValid() {
			return Policy{}, policyError("Exempt", "got %v, want a network such as 192.0.2.0/24", prefix)
		}
	}
	p.Exempt = exempt
	return p, p.validate()
}

// validate returns an error for the first field of p that is out of range.
func (p *Policy) validate() error {
	for _, f := range []struct {
		name string
		rate Rate
	}{{"Connect", p.Connect}, {"Source", p.Source}, {"Network", p.Network}, {"Pair", p.Pair}, {"Account", p.Account}, {"Global", p.Global}} {
		if err := f.rate.validate(); err != nil {
			return policyError(f.name, "%w", err)
		}
	}
	switch {
	case p.Open < 0:
		return policyError("Open", "got %d, want 0 or more", p.Open)
	case p.OpenPrelogin < 0:
		return policyError("OpenPrelogin", "got %d, want 0 or more", p.OpenPrelogin)
	case p.KnownShare < 0 || p.KnownShare > 100:
		return policyError("KnownShare", "got %d, want 0 to 100", p.KnownShare)
	case p.RepeatTTL < 0 || p.RepeatTTL > maxRepeatTTL:
		return policyError("RepeatTTL", "got %v, want 0s to %v", p.RepeatTTL, maxRepeatTTL)
	case p.KnownTTL < 0 || p.KnownTTL > maxKnownTTL:
		return policyError("KnownTTL", "got %v, want 0s to %v", p.KnownTTL, maxKnownTTL)
	case p.WaitMax < 0 || p.WaitMax > maxWait:
		return policyError("WaitMax", "got %v, want 0s to %v", p.WaitMax, maxWait)
	case p.TableMax < 1:
		return policyError("TableMax", "got %d, want 1 or more", p.TableMax)
	}
	return nil
}

// unmapped returns p masked, as IPv4 if it is mapped into IPv6, and the zero Prefix if p is invalid or only part of it
// is mapped.
func unmapped(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p.Masked()
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
}

func policyError(field, format string, args ...any) error {
	return fmt.Errorf("limiter policy: "+field+": "+format, args...)
}

// exempts reports whether addr is exempt.
func (p *Policy) exempts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.Exempt {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// The largest bucket. Rounding up the time of each token does not bring its span near an overflow.
const (
	maxTokens = 1_000_000
	maxPer    = 366 * 24 * time.Hour
)

// A Rate describes a bucket: it has Tokens when full, and refills from empty in Per. The zero value means off: the rule
// does not apply.
type Rate struct {
	Tokens int
	Per    time.Duration
}

// ParseRate reads a rate in the form tokens/time, such as 10/10m or 200/1s, or off. The time has the form of
// [time.ParseDuration].
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	tokens, per, _ := strings.Cut(s, "/")
	n, errTokens := strconv.ParseUint(tokens, 10, 31)
	d, errPer := time.ParseDuration(per)
	if errTokens != nil || errPer != nil {
		return Rate{}, fmt.Errorf("parsing a rate: got %q, want tokens/time, such as 10/10m, or off", s)
	}
	r := Rate{Tokens: int(n), Per: d}
	if r.off() {
		return Rate{}, fmt.Errorf("parsing a rate: got %q, want off to disable the rule", s)
	}
	if err := r.validate(); err != nil {
		return Rate{}, err
	}
	return r, nil
}

// String returns r in the form [ParseRate] reads.
func (r Rate) String() string {
	if r.off() {
		return "off"
	}
	per := r.Per.String()
	for _, zero := range []struct{ unit, tail string }{{"m", "0s"}, {"h", "0m"}} {
		if strings.HasSuffix(per, zero.unit+zero.tail) {
			per = strings.TrimSuffix(per, zero.tail)
		}
	}
	return strconv.Itoa(r.Tokens) + "/" + per
}

// MarshalText returns r in the form [ParseRate] reads.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}

// UnmarshalText sets r to what [ParseRate] reads from text. On an error r does not change.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// validate returns an error if r is neither off nor describes a bucket.
func (r Rate) validate() error {
	switch {
	case r.off():
		return nil
	case r.Tokens < 1 || r.Tokens > maxTokens:
		return fmt.Errorf("rate %v: got %d tokens, want 1 to %d", r, r.Tokens, maxTokens)
	case r.Per <= 0:
		return fmt.Errorf("rate %v: got a time of %v, want more than 0s", r, r.Per)
	case r.Per > maxPer:
		return fmt.Errorf("rate %v: got a time of %v, want at most %v", r, r.Per, maxPer)
	}
	return nil
}

func (r Rate) off() bool {
	return r == Rate{}
}

// rules are a Policy prepared for use. They never change; SetPolicy makes new ones.
type rules struct {
	Policy
	connect, global limit
	denials         [kindCount]limit // off for kinds that count something else
	looks           [kindCount]limit // likewise
	reserve         int              // tokens of global that strangers must leave

	sharing  Sharing // as it was set
	gateways int     // that count together, at least one
	alone    bool    // strangers get the part of this gateway

	pairUse, accountUse, allowedUse limit // logins in the reserved lane: of a pair, an account, an allowed network
}

func (p Policy) rules(s Sharing) *rules {
	global := p.Global.limit(RuleGlobal).part(s.global())
	r := &rules{
		Policy:  p,
		connect: p.Connect.limit(RuleConnect),
		global:  global,
		reserve: max(min(global.tokens*p.KnownShare/100, global.tokens-1), 0),

		sharing: s, gateways: max(s.Gateways, 1), alone: s.Alone && s.Gateways > 1,

		pairUse: p.useLimit(10, 8), accountUse: p.useLimit(15, 10), allowedUse: p.useLimit(20, 10),
	}
	r.denials[kindSource] = p.Source.limit(RuleSource)
	r.denials[kindNetwork] = p.Network.limit(RuleNetwork)
	r.denials[kindPair] = p.Pair.limit(RulePair)
	r.denials[kindAccount] = p.Account.limit(RuleAccount)
	r.denials[kindPrefix] = p.Network.limit(RulePrefix)
	r.denials[kindWidePrefix] = p.Network.times(widePrefixNetworks).limit(RulePrefix)
	r.looks[kindSource], r.looks[kindPair] = r.denials[kindSource], r.denials[kindPair]
	r.looks[kindAccount] = p.Account.times(looksPerDenial).limit(RuleAccount)
	return r
}

const (
	// widePrefixNetworks is how many times the denials of one network those of a /32 of IPv6 may be.
	widePrefixNetworks = 4
	// looksPerDenial is how many looks strangers may have at one account for each denial there.
	looksPerDenial = 10
)

// times returns the rate of n buckets of r in one.
func (r Rate) times(n int) Rate {
	return Rate{min(r.Tokens*n, maxTokens), r.Per}
}

// useLimit returns how many logins a minute may use the reserved lane: far more than users need, far fewer than the
// lane has.
func (p *Policy) useLimit(perCent, least int) limit {
	return Rate{max(p.Global.Tokens*perCent/100, least), time.Minute}.limit(RuleNone)
}

// denialLimit returns the limit on denials in entries of kind k, for a source with the given growth.
func (r *rules) denialLimit(k kind, growth int) limit {
	if k == kindSource || k == kindNetwork {
		return r.denials[k].times(growth)
	}
	return r.denials[k]
}

// lookLimit returns the limit on looks in entries of kind k, for a source with the given growth.
func (r *rules) lookLimit(k kind, growth int) limit {
	if k == kindSource {
		return r.looks[k].times(growth)
	}
	return r.looks[k]
}

// debt returns how many times its tokens a bucket may be in debt because of other gateways.
func (r *rules) debt() int {
	if r.gateways == 1 {
		return 0
	}
	return min(r.gateways, maxDebt)
}

// lineDelay is about how long an attempt waits until it asks again whether its turn has come.
const lineDelay = 250 * time.Millisecond

// lines returns how many attempts on accounts that a source is not known for may be under way there at once, with left
// of its tokens left. Those who guess in parallel spend them hardly faster than those who wait for each answer, and
// cannot hold all of them against others behind the same address.
func lines(left int) int {
	return max(1, left/3)
}

// verdict returns the verdict on attempt s that is charged to e and has no hold there yet. The wait is
// without jitter. own is what this gateway counts beside e. A network may have very many users: it delays and never
// refuses, and so does a source for tokens.
func (r *rules) verdict(now ticks, e *entry, s *subject, own ownCounts) Verdict {
	limit := r.denialLimitOf(e.kind, s)
	spent, held := own.denials(e, s, r).spent(now, &limit), int(e.holds)
	usable := limit.tokens - s.cleanShare(e.kind, limit.tokens)
	switch {
	case s.onlyDelays(e.kind):
	case spent+held >= usable:
		return refusal(limit.rule)
	case e.kind == kindSource && held >= lines(limit.tokens-spent),
		held+own.unacknowledgedDenials >= r.rest(e.kind, s, usable-spent):
		return Verdict{Action: Wait, Rule: limit.rule, Wait: lineDelay, Again: true}
	}
	return waiting(limit.rule, delay(spent, limit.tokens, r.WaitMax))
}

// cleanShare returns how many of the tokens of an entry of kind k attempt s must leave to others. A quarter of what
// strangers may try at an account, or from a wide prefix, is for sources and networks that have not been denied lately,
// so that attackers who come again and again cannot use up what a traveller needs. Exempt addresses leave it as well.
func (s *subject) cleanShare(k kind, tokens int) int {
	if (s.denied || s.exempt) && k >= kindAccount {
		return tokens / 4
	}
	return 0
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
