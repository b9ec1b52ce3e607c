package limiter

import (
	"net/netip"
	"time"
)

// Peek returns what is certain at time t about an attempt whose credential is not known yet, as at USER of POP3. It
// spends and holds nothing. It refuses only if no credential could pass, and passes otherwise: an empty pair or account
// refuses unless some credential of the account is known, which this client may have.
//
// The bucket of the source does not count. A source with an empty one could otherwise learn, at no cost, whether the
// owner of any account logged in lately; through pair and account it can learn that only by emptying those first.
func (l *Limiter) Peek(t time.Time, addr netip.Addr, account string) Verdict {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, verdict: pass, subject: l.subject(t, Attempt{Addr: addr, Account: account}, r)}
	if k.subject.trust.secrets {
		return pass
	}
	for _, kd := range [...]kind{kindPair, kindAccount} {
		if r.denialLimit(kd).off() || !k.subject.applies(kd) {
			continue
		}
		if e, mu := k.entry(now, kd, r, false); e != nil {
			v := r.verdict(now, e)
			mu.Unlock()
			if v.Action == Refuse {
				return v
			}
		}
	}
	return pass
}

// KnownSource reports whether a login from the source of addr, on any account, was accepted within KnownTTL before t,
// or addr is exempt. That does not make an attempt known; it helps to choose which connection to close when there are
// too many.
func (l *Limiter) KnownSource(t time.Time, addr netip.Addr) bool {
	r := l.rules.Load()
	f := blockFingerprint(l.hasher.block(kindSource, Source(addr)))
	return l.known.sources.has(f, validityAt(t, r.KnownTTL)) || r.exempts(addr)
}
