package limiter

import (
	"net/netip"
	"time"
)

// Peek says what is certain at time t of an attempt whose credential has yet to come, as at the USER of POP3. It
// charges and holds nothing. It refuses only what no credential can lift, and else passes: what is spent of the pair or
// the account keeps everybody out unless some credential of the account is known, for this client may have it.
//
// It does not speak for the source. One that is empty would learn of any name, for nothing, whether its owner was here
// lately; by pair and account it learns that for the price of emptying them.
func (l *Limiter) Peek(t time.Time, addr netip.Addr, account string) Verdict {
	now, r := l.origin.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, verdict: pass, subject: l.subject(t, Attempt{Addr: addr, Account: account}, r)}
	if k.subject.trust.secrets {
		return pass
	}
	for _, kd := range [...]kind{ofPair, ofAccount} {
		if r.denials(kd).off() || !k.subject.applies(kd) {
			continue
		}
		if e, mu := k.entry(now, kd, r, false); e != nil {
			v := r.judge(now, e)
			mu.Unlock()
			if v.Action == Refuse {
				return v
			}
		}
	}
	return pass
}

// KnownSource reports whether a login from the source of addr was accepted within KnownTTL before t, whatever the
// account, or addr is exempt. It is no reason to let anybody in, only to let them stay when somebody must go.
func (l *Limiter) KnownSource(t time.Time, addr netip.Addr) bool {
	r := l.rules.Load()
	m := blockMark(l.hasher.block(ofSource, Source(addr)))
	return l.known.sources.has(m, keptFor(t, r.KnownTTL)) || r.exempts(addr)
}
