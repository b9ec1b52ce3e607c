package limiter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Explain tells in words what the rules hold against a login to account from addr at time t, and what would happen now
// to one with a credential that is not known. It is for operators: it says who is known. The text has one line for each
// fact and ends in a newline; it repeats neither address nor account.
func (l *Limiter) Explain(t time.Time, addr netip.Addr, account string) string {
	now, r := l.origin.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, verdict: pass, subject: l.subject(t, Attempt{Addr: addr, Account: account}, r)}
	k.priority = k.subject.priority()
	var b strings.Builder
	k.explainStanding(&b)
	k.explainVisits(&b, now, r)
	for _, kd := range [...]kind{ofSource, ofNetwork, ofPair, ofAccount} {
		k.explainBucket(&b, now, kd, r)
	}
	k.judge(now, r, false)
	switch v := k.verdict; v.Action {
	case Refuse:
		fmt.Fprintf(&b, "now: refused by rule %s\n", v.Rule)
	case Wait:
		fmt.Fprintf(&b, "now: waits %v by rule %s, then for its turn %s\n", v.Wait, v.Rule, k.priority)
	default:
		fmt.Fprintf(&b, "now: passes, to wait for its turn %s\n", k.priority)
	}
	l.explainLanes(&b, t, r)
	return b.String()
}

// explainStanding tells what is known.
func (k *Ticket) explainStanding(b *strings.Builder) {
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
		b.WriteString("known: with a credential that was accepted lately no rule about denials applies\n")
	}
}

// explainVisits tells what connections the source has.
func (k *Ticket) explainVisits(b *strings.Builder, now ticks, r *rules) {
	var source entry
	if e, mu := k.limiter.table.find(k.subject.keys[ofSource]); e != nil {
		source = *e
		mu.Unlock()
	}
	fmt.Fprintf(b, "connections: %d open of %s, %d of them before login of %s, %d new of %s\n", source.open, most(r.Open),
		source.prelogin, most(r.OpenPrelogin), source.connects.spent(now, &r.connect), r.Connect)
}

// most says how many there may be.
func most(n int) string {
	if n == 0 {
		return "any number"
	}
	return strconv.Itoa(n)
}

// explainBucket tells how full the bucket of kind kd is.
func (k *Ticket) explainBucket(b *strings.Builder, now ticks, kd kind, r *rules) {
	limit := r.denials(kd)
	fmt.Fprintf(b, "%s: ", limit.rule)
	if limit.off() {
		b.WriteString("off\n")
		return
	}
	spent, held, full, behind := 0, uint32(0), time.Duration(0), ""
	if e, mu := k.limiter.table.find(k.subject.keys[kd]); e != nil {
		spent, held, full = e.denials.spent(now, limit), e.holds, e.denials.missing(now, limit)
		if e.rank(now, unpenalized) == penalized {
			behind = ", goes behind others"
		}
		mu.Unlock()
	}
	fmt.Fprintf(b, "%d of %d denials spent, %d held", spent, limit.tokens, held)
	if full > 0 {
		fmt.Fprintf(b, ", full again in %v", full.Round(time.Second))
	}
	b.WriteString(behind)
	if !k.subject.applies(kd) {
		b.WriteString(" (does not apply)")
	}
	b.WriteByte('\n')
}

// explainLanes tells how busy the way to the backends is.
func (l *Limiter) explainLanes(b *strings.Builder, t time.Time, r *rules) {
	s := l.Stats(t)
	if r.global.off() {
		b.WriteString("global: off\n")
		return
	}
	fmt.Fprintf(b, "global: %.0f of %d logins free, %d of them for the known alone; %d known and %d strangers wait\n",
		max(s.GlobalTokens, 0), r.global.tokens, s.ReservedTokens, s.WaitKnown, s.WaitStrangers)
	if !s.Learned {
		b.WriteString("global: nothing is reserved until the first accepted login is a day old\n")
	}
}

// String says where in the queue o is.
func (o Priority) String() string {
	return [...]string{"among the known", "before other strangers", "among strangers", "behind other strangers"}[o.class]
}
