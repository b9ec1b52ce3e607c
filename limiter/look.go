package limiter

import "time"

// A look compares the credential of a stranger with those that are known for the account. If it is one of them, the
// attempt is known and no rule about strangers applies. That would tell an attacker for nothing which password is right:
// it is the one that the rules do not refuse, or that need not wait. So a look is a guess and has a price: a token of
// looks in the entries of the source, the pair and the account, beside those of denials. As many passwords can be
// tried, by a backend or by a look, as both buckets of an entry allow.
//
// A look is paid for if the attempt does not match, unless it is denied later and pays for that. The same credential
// from the same source pays once. An attempt that is near and has to wait for nothing needs no look: it would be served
// the same either way.

// mayHoldLook reports whether an attempt with verdict v on e, which is locked, is to take a hold of a look there. It sets
// k.lookDue if e has none left. own is what this gateway counts beside e.
func (k *Ticket) mayHoldLook(now ticks, r *rules, e *entry, own ownCounts, v Verdict) bool {
	s := &k.subject
	if !s.shown || k.charged || k.lookPaid || s.trust.near() && v.Action == Pass {
		return false
	}
	limit := r.lookLimitOf(e.kind, s)
	if limit.off() {
		return false
	}
	usable := limit.tokens - s.cleanShare(e.kind, limit.tokens)
	looks, held := own.looks(e, s, r), int(e.lookHolds)
	spent := looks.spent(now, &limit)
	if spent+held < usable && held < lookHoldsMax && held+own.unacknowledgedLooks < r.rest(e.kind, s, usable-spent) {
		return true
	}
	due := now.add(lineDelay) // one that is held may come back
	if spent >= usable {
		due = now.add(looks.missing(now, &limit) - time.Duration(usable-1)*limit.token)
	}
	k.lookDue = max(k.lookDue, due)
	return false
}

// look looks at the credential if there is a token for that, or if it is paid for, and changes the verdict by what it
// finds. An attempt without a penalty that would be refused, and for which a token is due in time, waits for it.
func (k *Ticket) look(now ticks, r *rules) {
	s, refused := &k.subject, k.verdict.Action == Refuse
	needless := s.trust.near() && k.verdict.Action == Pass
	k.looked = s.shown && (k.charged || k.lookPaid || needless || k.lookDue == 0)
	sprayed := s.shown && !refused && !s.trust.near() && !k.inspected && k.limiter.isSprayed(now, s.password)
	if sprayed && !k.looked { // it may be the right one all the same
		k.verdict, refused = refusal(RuleSpray), true
	}
	switch {
	case k.looked && s.match.known:
		s.trust.credential = true
		k.verdict, k.priority = pass, Priority{class: classKnown}
	case sprayed && k.looked:
		k.verdict = Verdict{Action: Repeat, Rule: RuleSpray, Wait: k.verdict.Wait}
		k.pay(now, r, denials)
	case k.looked && refused:
		k.pay(now, r, looks)
	case refused && s.shown && !s.denied && k.lookDue <= k.deadline:
		k.release(now, r, nothing)
		wait := max(now.until(k.lookDue), lineDelay)
		k.verdict = Verdict{Action: Wait, Rule: k.verdict.Rule, Wait: min(wait, max(now.until(k.deadline), 1)), Again: true}
	case refused:
		k.release(now, r, nothing)
	case !k.looked:
		k.returnLooks()
	}
}

// lookInTurn looks at the credential of an attempt that has to wait until fewer others are under way at this gateway, if
// there is a token for that, or if it is paid for: nobody who guesses may keep those who are known by their credential
// waiting. A look in vain is spent at once, because the attempt holds nothing while it waits.
func (k *Ticket) lookInTurn(now ticks, r *rules) {
	s := &k.subject
	paid := k.charged || k.lookPaid
	k.looked = s.shown && (paid || k.lookDue == 0)
	switch {
	case k.looked && s.match.known:
		s.trust.credential = true
		k.verdict, k.priority = pass, Priority{class: classKnown}
	case k.looked && !paid && !k.inspected && k.charge(now, r, looks):
		k.release(now, r, looks)
	default:
		k.release(now, r, nothing)
	}
}

// pay spends what the attempt holds for its credential, unless that is paid for already, and returns the rest. The
// source and the network get the penalty of a denial: the attempt has shown a wrong password.
func (k *Ticket) pay(now ticks, r *rules, spend spending) {
	if k.inspected {
		return
	}
	if !k.charge(now, r, spend) {
		k.release(now, r, nothing)
		return
	}
	k.release(now, r, spend)
	if spend != looks {
		return
	}
	for _, kd := range [...]kind{kindSource, kindNetwork} {
		if !k.subject.applies(kd) {
			continue
		}
		if e, mu := k.entry(now, kd, r, true); e != nil {
			e.penalize(now, true)
			h := hold{key: e.key, kind: e.kind}
			mu.Unlock()
			k.publish(opSettled, h, wasDenied)
		}
	}
}

// returnLooks returns the holds of looks: the attempt goes on without one.
func (k *Ticket) returnLooks() {
	for i := range k.holds[:k.held] {
		if h := &k.holds[i]; h.look {
			e, mu := k.limiter.table.find(h.key)
			e.lookHolds--
			mu.Unlock()
			h.look = false
		}
	}
}
