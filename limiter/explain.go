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
