package limiter

import "time"

// Settle closes the attempt at time t. Denied spends its holds; Accepted and Void return them. Accepted also makes the
// credential, the source and the network known for the account, and clears the denials of the account from this source.
// A refused ticket holds nothing, but if it was let through all the same (observe mode) and accepted, it becomes known.
// A token of the global bucket remains spent whatever the outcome. If the attempt was starved, its source and network
// get a penalty, which decides the priority of their later attempts. Settling again does nothing.
func (k *Ticket) Settle(t time.Time, o Outcome) {
	if k.settled || k.limiter == nil {
		return
	}
	k.settled = true
	l := k.limiter
	now, r := l.epoch.ticks(t), l.rules.Load()
	if k.waiter != nil {
		k.starved = l.globalQueue.leave(k.waiter)
	}
	spend := false
	switch {
	case o == Denied && k.verdict.Action < Repeat:
		spend = k.denied(now, r)
	case o == Accepted:
		k.accepted(t, r)
	}
	k.release(now, r, spend)
}

// denied records that the credential is wrong, and reports whether the denial is charged: not if an earlier denial of
// the same credential is still charged. A known credential that is denied becomes unknown, and is charged.
func (k *Ticket) denied(now ticks, r *rules) bool {
	s := &k.subject
	if s.trust.credential {
		k.limiter.known.forgetCredential(s.keys[kindAccount], s.fingerprints.credential)
		s.trust.credential = false
		for _, kd := range [...]kind{kindSource, kindPair} {
			if s.exempt || r.denialLimit(kd).off() {
				continue
			}
			if e, mu := k.entry(now, kd, r, true); e != nil {
				k.hold(e)
				mu.Unlock()
			}
		}
	}
	if s.keys[kindRepeat] == (key{}) {
		return true
	}
	e, mu := k.limiter.table.findOrAdd(now, s.keys[kindRepeat], kindRepeat, r.TableMax)
	if e == nil {
		return !k.charged
	}
	defer mu.Unlock()
	charge := !k.charged && ticks(e.denials) <= now
	if charge {
		e.denials = bucket(now.add(k.cost(r)))
	}
	e.connects = bucket(now.add(r.RepeatTTL))
	return charge
}

// cost returns the time after which every token the attempt holds would be back.
func (k *Ticket) cost(r *rules) (longest time.Duration) {
	for _, h := range k.holds[:k.held] {
		longest = max(longest, r.denialLimit(h.kind).token)
	}
	return longest
}

// accepted records that the credential is right. It clears only the pair of the attempt.
func (k *Ticket) accepted(t time.Time, r *rules) {
	l, s := k.limiter, &k.subject
	if r.KnownTTL > 0 && s.keys[kindAccount] != (key{}) {
		l.known.learn(t, s.keys[kindAccount], s.fingerprints, validityAt(t, r.KnownTTL), r.TableMax)
	}
	for _, kd := range [...]kind{kindPair, kindRepeat} {
		if kd == kindPair && s.sharesNetworkPair() {
			continue
		}
		if e, mu := l.table.find(s.keys[kd]); e != nil {
			e.denials, e.connects = 0, 0
			mu.Unlock()
		}
	}
}

// release spends the holds or returns them.
func (k *Ticket) release(now ticks, r *rules, spend bool) {
	for _, h := range k.holds[:k.held] {
		e, mu := k.limiter.table.find(h.key)
		e.holds--
		if limit := r.denialLimit(h.kind); spend && !limit.off() {
			e.denials.spend(now, limit)
		}
		if spend || k.starved {
			e.penalize(now, spend)
		}
		mu.Unlock()
	}
	k.held = 0
}
