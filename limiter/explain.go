package limiter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Explain describes, for operators, what the rules hold against a login to account from addr at time t, and what would
// happen to one with a credential that is not known. It shows whether the account is known, so no client may see it.
// The text has one fact a line and ends in a newline; it contains neither address nor account.
func (l *Limiter) Explain(t time.Time, addr netip.Addr, account string) string {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, verdict: pass, deadline: now.add(r.WaitMax), subject: l.subject(t, Attempt{Addr: addr, Account: account}, r)}
	k.subject.shown = true
	if !k.subject.exempt {
		k.subject.growth = l.Growth(t, addr)
	}
	k.priority = k.subject.priority()
	var b strings.Builder
	k.explainKnown(&b)
	k.explainConnections(&b, now, r)
	for _, kd := range [...]kind{kindSource, kindNetwork, kindPair, kindAccount, kindPrefix, kindWidePrefix} {
		if kd <= kindAccount || k.subject.applies(kd) {
			k.explainBucket(&b, now, kd, r)
		}
	}
	fmt.Fprintf(&b, "spray: %d passwords were denied at many accounts within %v; strangers with one reach no backend\n", l.sprays.count(now), sprayTime)
	k.applyDenialRules(now, r, false)
	switch v := k.verdict; v.Action {
	case Refuse:
		fmt.Fprintf(&b, "now: refused by rule %s\n", v.Rule)
	case Wait:
		fmt.Fprintf(&b, "now: waits %v by rule %s, then needs a global token (priority: %s)\n", v.Wait, v.Rule, k.priority)
	default:
		fmt.Fprintf(&b, "now: passes, then needs a global token (priority: %s)\n", k.priority)
	}
	l.explainGlobal(&b, t, r)
	return b.String()
}

// explainKnown describes by what the attempt is known.
func (k *Ticket) explainKnown(b *strings.Builder) {
	s := k.subject
	if s.exempt {
		b.WriteString("address: exempt from connect, source, network and pair\n")
	}
	switch {
	case s.trust.source:
		b.WriteString("known: the account was accepted from this source\n")
	case s.trust.network:
		b.WriteString("known: the account was accepted from this network\n")
	default:
		b.WriteString("known: the account was not accepted from here\n")
	}
	if s.trust.secrets {
		b.WriteString("known: a credential that was accepted lately passes as long as there are looks\n")
	}
	if s.growth > 1 {
		fmt.Fprintf(b, "people: %d accounts were accepted from this source lately, so its limits grow\n", s.growth)
	}
}

// explainConnections describes the connections of the source.
func (k *Ticket) explainConnections(b *strings.Builder, now ticks, r *rules) {
	var source entry
	if e, mu := k.limiter.table.find(k.subject.keys[kindSource]); e != nil {
		source = *e
		mu.Unlock()
	}
	growth := min(k.subject.growth, maxOpenGrowth)
	connects := min(k.subject.growth, maxConnectGrowth)
	connect := r.connect.times(connects)
	fmt.Fprintf(b, "connections: %d open of %s, %d of them before login of %s, %d new of %s\n",
		source.open, limitText(r.Open*growth), source.prelogin, limitText(r.OpenPrelogin*growth),
		source.connects.spent(now, &connect), r.Connect.times(connects))
}

// limitText returns a limit on connections as text.
func limitText(n int) string {
	if n == 0 {
		return "any number"
	}
	return strconv.Itoa(n)
}

// explainBucket describes the bucket of kind kd.
func (k *Ticket) explainBucket(b *strings.Builder, now ticks, kd kind, r *rules) {
	limit := r.denialLimit(kd, &k.subject)
	fmt.Fprintf(b, "%s: ", limit.rule)
	if limit.off() {
		b.WriteString("off\n")
		return
	}
	spent, held, looked, full, penalty := 0, uint32(0), 0, time.Duration(0), ""
	looks := r.lookLimit(kd, &k.subject)
	if e, mu := k.limiter.table.find(k.subject.keys[kd]); e != nil {
		spent, held, full = e.denials.spent(now, &limit), e.holds, e.denials.missing(now, &limit)
		looked = e.looks.spent(now, &looks)
		if r.priorityClass(now, e, &k.subject, classUnpenalized) == classPenalized {
			penalty = ", penalized"
		}
		mu.Unlock()
	}
	fmt.Fprintf(b, "%d of %d denials spent, %d held", spent, limit.tokens, held)
	if full > 0 {
		fmt.Fprintf(b, ", full again in %v", full.Round(time.Second))
	}
	if !looks.off() {
		fmt.Fprintf(b, ", %d of %d looks spent", looked, looks.tokens)
	}
	b.WriteString(penalty)
	if !k.subject.applies(kd) {
		b.WriteString(" (does not apply)")
	}
	b.WriteByte('\n')
}

// explainGlobal describes the global bucket and its queue.
func (l *Limiter) explainGlobal(b *strings.Builder, t time.Time, r *rules) {
	s := l.Stats(t)
	if r.global.off() {
		b.WriteString("global: off\n")
		return
	}
	fmt.Fprintf(b, "global: %.0f of %d tokens left, %d reserved for the known; %d known and %d strangers wait\n",
		max(s.GlobalTokens, 0), r.global.tokens, s.ReservedTokens, s.WaitKnown, s.WaitStrangers)
	if !s.Learned {
		b.WriteString("global: nothing is reserved until the first accepted login is a day old\n")
	}
}

// ExplainRule returns the figures of one rule at time t that explain why it delayed or refused an attempt, such as "10 of
// 10 denials of the source spent, full again in 9m58s". For the rules about connections, only the address of a counts.
// It is empty where there are no such figures: for other rules, for what is no longer full, and for the pair of a device
// unless a has the device. It contains neither address nor account, costs little more than [Limiter.Peek], and adds no
// entry.
func (l *Limiter) ExplainRule(t time.Time, a Attempt, rule Rule) string {
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
	limit, looks := r.denialLimit(kd, &k.subject), r.lookLimit(kd, &k.subject)
	k.subject.denied = kd >= kindAccount && (k.wasDenied(now, kindSource) || k.wasDenied(now, kindNetwork))
	e, mu := k.limiter.table.find(k.subject.keys[kd])
	if e == nil {
		return "", 0
	}
	spent, held, looked, full := e.denials.spent(now, &limit), int(e.holds), e.looks.spent(now, &looks), e.denials.missing(now, &limit)
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
	case kd == kindPair && k.subject.sharesNetworkPair():
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
		s.GlobalTokens = l.globalQueue.bucket.left(l.epoch.ticks(t))
	}
	s.WaitKnown, s.WaitStrangers = l.globalQueue.queue.counts()
	return s
}
