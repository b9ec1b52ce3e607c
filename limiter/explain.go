package limiter

import (
	"fmt"
	"strings"
	"time"
)

// Explain returns the figures of one rule at time t that explain why it delayed or refused an attempt, such as "10 of
// 10 denials of the source spent, full again in 9m58s". For the rules about connections, only the address of a counts.
// It is empty where there are no such figures: for other rules, for what is no longer full, and for the pair of a device
// unless a has the device. It contains neither address nor account, costs little more than [Limiter.Peek], and adds no
// entry.
func (l *Limiter) Explain(t time.Time, a Attempt, rule Rule) string {
	now, r := l.epoch.ticks(t), l.rules.Load()
	switch rule {
	case RuleConnect, RuleOpen, RuleOpenPrelogin:
		return l.explainConnectionRule(t, a, rule, r)
	case RuleGlobal:
		return l.explainGlobalRule(t, r)
	}
	k := Ticket{limiter: l, attempt: a, subject: l.subject(t, a, r)}
	if k.networkIsSpent(now, r) {
		k.forgetNetwork(t)
	}
	text, most := "", 0.
	for kd := range kindCount {
		if r.denials[kd].rule != rule || r.denials[kd].off() || !k.subject.applies(kd) {
			continue
		}
		if figures, share := k.explainDenials(now, kd, r); share > most {
			text, most = figures, share
		}
	}
	return text
}

// explainDenials returns the figures of the bucket of kind kd, and the share of it that is spent or held.
func (k *Ticket) explainDenials(now ticks, kd kind, r *rules) (figures string, share float64) {
	limit, looks := r.denialLimitOf(kd, &k.subject), r.lookLimitOf(kd, &k.subject)
	k.subject.denied = kd >= kindAccount && (k.wasDenied(now, kindSource) || k.wasDenied(now, kindNetwork))
	e, mu := k.limiter.table.find(k.subject.keys[kd])
	if e == nil {
		return "", 0
	}
	own := k.limiter.own(now, e, r)
	denials := own.denials(e, &k.subject, r)
	spent, held, full := denials.spent(now, &limit), int(e.holds), now.until(ticks(denials)) // which may be in debt
	looked := own.looks(e, &k.subject, r).spent(now, &looks)
	mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d denials of the %s spent", spent, limit.tokens, k.blockName(kd))
	if held > 0 {
		fmt.Fprintf(&b, ", %d held", held)
	}
	if clean := k.subject.cleanShare(kd, limit.tokens); clean > 0 {
		fmt.Fprintf(&b, ", %d only for sources without denials", clean)
	}
	if full > 0 {
		fmt.Fprintf(&b, ", full again in %v", full.Round(time.Second))
	}
	if looked > 0 {
		fmt.Fprintf(&b, ", %d of %d looks spent", looked, looks.tokens)
		share = float64(looked) / float64(looks.tokens)
	}
	return b.String(), max(share, float64(spent+held)/float64(limit.tokens))
}

// wasDenied reports whether the entry of kind kd has the penalty of denials.
func (k *Ticket) wasDenied(now ticks, kd kind) bool {
	e, mu := k.limiter.table.find(k.subject.keys[kd])
	if e == nil {
		return false
	}
	defer mu.Unlock()
	return e.denied(now)
}

// blockName names what the denials of kind kd are counted for.
func (k *Ticket) blockName(kd kind) string {
	switch {
	case kd == kindPair && (k.subject.sharesNetworkPair() || k.subject.sharesAllowedPair()):
		return "network on the account"
	case kd == kindPair:
		return "source on the account"
	}
	return [kindCount]string{kindSource: "source", kindNetwork: "network", kindAccount: "account", kindPrefix: "prefix", kindWidePrefix: "prefix"}[kd]
}

// explainConnectionRule returns the figures of a rule about the connections of the source of a, if they are at the limit.
func (l *Limiter) explainConnectionRule(t time.Time, a Attempt, rule Rule, r *rules) string {
	now, growth := l.epoch.ticks(t), l.Growth(t, a.Addr)
	e, mu := l.table.find(l.hasher.block(kindSource, Source(a.Addr)))
	if e == nil {
		return ""
	}
	defer mu.Unlock()
	connect, most := r.connect.times(min(growth, maxConnectGrowth)), min(growth, maxOpenGrowth)
	spent := e.connects.spent(now, &connect)
	switch {
	case rule == RuleConnect && !connect.off() && spent >= connect.tokens:
		return fmt.Sprintf("%d of %d new connections of the source spent, full again in %v", spent, connect.tokens, e.connects.missing(now, &connect).Round(time.Second))
	case rule == RuleOpen && r.Open > 0 && int(e.open) >= r.Open*most:
		return fmt.Sprintf("%d of %d connections of the source open", e.open, r.Open*most)
	case rule == RuleOpenPrelogin && r.OpenPrelogin > 0 && int(e.prelogin) >= r.OpenPrelogin*most:
		return fmt.Sprintf("%d of %d connections of the source open before login", e.prelogin, r.OpenPrelogin*most)
	}
	return ""
}

// explainGlobalRule returns the figures of the global bucket and its queue.
func (l *Limiter) explainGlobalRule(t time.Time, r *rules) string {
	if r.global.off() {
		return ""
	}
	reserved := l.reserve(t, r)
	l.globalQueue.mu.Lock()
	defer l.globalQueue.mu.Unlock()
	known, strangers := l.globalQueue.queue.counts()
	return fmt.Sprintf("%.0f of %d tokens for logins left, %d reserved for the known, %d known and %d strangers wait",
		max(l.globalQueue.bucket.left(l.epoch.ticks(t)), 0), r.global.tokens, reserved, known, strangers)
}

// Stats is what a Limiter holds at one time.
type Stats struct {
	Sources  int    // buckets of sources in the table
	Networks int    // of networks
	Pairs    int    // of pairs, those that count logins included
	Accounts int    // of accounts
	Repeats  int    // credentials that were denied lately
	Capacity int    // how many of all these the table may hold
	Shared   uint64 // attempts since New that were decided without a bucket of their own because the table was full

	Known   int  // accounts in the known table
	Learned bool // whether the first accepted login is a day old, so that the reserve applies

	GlobalTokens   float64 // tokens left in the global bucket; 0 if the rule is off
	ReservedTokens int     // of those, how many strangers must leave; 0 until Learned
	WaitKnown      int     // queued attempts with the priority of the known
	WaitStrangers  int     // queued attempts with the priority of strangers
}

// Stats returns what l holds at time t.
func (l *Limiter) Stats(t time.Time) Stats {
	r, n := l.rules.Load(), l.table.count()
	s := Stats{
		Sources: n[kindSource], Networks: n[kindNetwork], Pairs: n[kindPair] + n[kindUse], Accounts: n[kindAccount],
		Repeats: n[kindRepeat], Capacity: r.TableMax, Shared: l.shared.Load(),
		Known: int(l.known.count.Load()), Learned: l.known.learned(t), ReservedTokens: l.reserve(t, r),
	}
	l.globalQueue.mu.Lock()
	defer l.globalQueue.mu.Unlock()
	if !r.global.off() {
		s.GlobalTokens = max(l.globalQueue.bucket.left(l.epoch.ticks(t)), 0) // below zero if a sibling has spent as well
	}
	s.WaitKnown, s.WaitStrangers = l.globalQueue.queue.counts()
	return s
}
