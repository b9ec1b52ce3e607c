package limiter

import (
	"math"
	"time"
)

// Settle closes the attempt at time t. Denied spends its holds; Accepted and Void return them. Accepted also makes the
// credential, the device, the source and the network known for the account, and clears the denials of the account from
// this source. A refused ticket holds nothing, but if it was let through all the same (observe mode) and accepted, it
// becomes known. A token of the global bucket remains spent whatever the outcome. If the attempt was starved, its source
// and network get a penalty, which decides the priority of their later attempts. A credential that was looked at in vain
// costs the look unless it was denied. Settling again does nothing.
func (k *Ticket) Settle(t time.Time, o Outcome) {
	if k.settled || k.limiter == nil {
		return
	}
	k.settled = true
	l := k.limiter
	now, r := l.epoch.ticks(t), l.rules.Load()
	l.cut.RLock()
	defer l.cut.RUnlock()
	if k.waiter != nil {
		k.starved = l.globalQueue.leave(k.waiter)
	}
	spend := nothing
	switch {
	case o == Denied && k.verdict.Action < Repeat:
		spend = k.denied(t, now, r)
	case o == Accepted:
		k.accepted(t, r)
	case !k.subject.trust.credential:
		spend = looks
	}
	k.release(now, r, spend)
}

// slotTime is how long a login slot may be held for one token: about as long as a backend delays a denial.
const slotTime = 2 * time.Second

// Abandon closes the attempt of a client that left a challenge of the backend unanswered, after its exchange had held a
// login slot for the time held. A stranger is charged for that time as for denials, a token for each slotTime, at their
// source, network and pair. Nobody has learned anything about a password, so the account is not charged.
func (k *Ticket) Abandon(t time.Time, held time.Duration) {
	k.ChargeSlot(t, held)
	k.Settle(t, Void)
}

// ChargeSlot charges a stranger whose exchange has held a login slot for the time held while the client did not answer.
// The attempt must still be settled.
func (k *Ticket) ChargeSlot(t time.Time, held time.Duration) {
	if k.settled || k.limiter == nil || k.subject.trust.near() {
		return
	}
	now, r := k.limiter.epoch.ticks(t), k.limiter.rules.Load()
	k.limiter.cut.RLock()
	defer k.limiter.cut.RUnlock()
	for _, kd := range [...]kind{kindSource, kindNetwork, kindPair} {
		limit := r.denialLimit(kd, k.subject.growth)
		if !k.subject.applies(kd) || limit.off() {
			continue
		}
		if e, mu := k.entry(now, kd, r, true); e != nil {
			flags := eventFlags(0)
			if k.subject.onlyDelays(kd) {
				flags = onlyDelays
			}
			k.limiter.countOwnSlot(now, r, e, held, flags, k.subject.growth, r.divides(kd, &k.subject))
			e.chargeSlot(now, r, held, flags, k.subject.growth)
			h := hold{key: e.key, kind: e.kind}
			mu.Unlock()
			k.publishSlot(h, held)
		}
	}
}

// chargeSlot charges e for a login slot that was held for the time held.
func (e *entry) chargeSlot(now ticks, r *rules, held time.Duration, f eventFlags, growth int) {
	if limit := r.denialLimit(e.kind, growth); !limit.off() {
		debt := r.debt()
		if f&onlyDelays != 0 {
			debt = 0
		}
		e.denials.spendFor(now, &limit, slotCost(held, &limit), debt)
		e.penalize(now, true)
	}
}

// slotCost returns the time in which the tokens refill that a login slot costs which was held for the time held.
func slotCost(held time.Duration, limit *limit) time.Duration {
	part := min(float64(held)/float64(slotTime), maxTokens)
	return time.Duration(min(part*float64(limit.token), float64(limit.span())))
}

// deniedMatch is the value of entry.starved for a repeat whose credential is known, and was denied all the same. It is
// the wrong one for that account: it matches by chance, or is no longer valid.
const deniedMatch = 1

// denied records that the credential is wrong, and returns what is spent: nothing if an earlier denial of the same
// credential is still charged. The known table learns of a known credential that is denied only if the attempt is near:
// one that matches by chance must not make strangers of users.
func (k *Ticket) denied(t time.Time, now ticks, r *rules) spending {
	s := &k.subject
	if s.trust.credential && s.trust.near() {
		k.limiter.known.credentialDenied(s.keys[kindAccount], s.fingerprints.credential, hourOf(t))
		if r.gateways > 1 {
			k.limiter.known.noteDenied(now, s.keys[kindAccount], s.fingerprints.credential)
		}
		k.publishKnown(opCredentialDenied, t)
		if k.held == 0 && !k.charged && !r.denials[kindPair].off() {
			if e, mu := k.entry(now, kindPair, r, true); e != nil {
				e.holds++
				k.holds[0], k.held = hold{key: e.key, kind: e.kind, denial: true}, 1
				mu.Unlock()
			}
		}
	}
	if s.shown && !s.trust.near() {
		k.limiter.sprays.denied(now, s.password, s.accountBit())
		if k.limiter.wants(opSprayed) {
			k.limiter.publish(&event{op: opSprayed, password: s.password, bit: s.accountBit()})
		}
	}
	spend := denials
	if s.trust.credential {
		spend = denials | looks
	}
	if k.charge(now, r, spend) {
		k.deniedJA4(now)
	} else {
		spend = nothing
	}
	if e, mu := k.limiter.table.find(s.keys[kindRepeat]); e != nil {
		e.repeatFor(now, r.RepeatTTL, s.trust.credential)
		mu.Unlock()
		k.publishRepeat(opRepeated, s.trust.credential, r.RepeatTTL, 0)
	}
	return spend
}

// repeatFor makes e a repeat for the time d. Its credential may be known all the same.
func (e *entry) repeatFor(now ticks, d time.Duration, match bool) {
	e.connects = bucket(now.add(d))
	e.starved = 0
	if match {
		e.starved = deniedMatch
	}
}

// charge reports whether the credential must be paid for, by a denial or by a look, and records for how long it is then:
// until all tokens that are spent are back. It must not if it is paid for already.
func (k *Ticket) charge(now ticks, r *rules, spend spending) bool {
	paid := k.charged || spend == looks && k.lookPaid
	if paid || k.subject.keys[kindRepeat] == (key{}) || spend != looks && r.RepeatTTL == 0 {
		return !paid
	}
	e, mu := k.limiter.table.findOrAdd(now, k.subject.keys[kindRepeat], kindRepeat, k.tableMax(kindRepeat, r))
	if e == nil {
		return true
	}
	defer mu.Unlock()
	until := &e.denials
	if spend == looks {
		until = &e.looks
	}
	if ticks(*until) > now && !k.subject.paysAlways() {
		return false
	}
	cost := max(k.cost(r, spend), 1)
	*until = bucket(now.add(cost))
	if spend == looks {
		k.publishRepeat(opCharged, false, 0, cost)
	} else {
		k.publishRepeat(opCharged, false, cost, 0)
	}
	return true
}

// cost returns the time after which every token that is spent would be back.
func (k *Ticket) cost(r *rules, spend spending) (longest time.Duration) {
	for _, h := range k.holds[:k.held] {
		if h.denial && spend&denials != 0 {
			longest = max(longest, r.denials[h.kind].token)
		}
		if h.look && spend&looks != 0 {
			longest = max(longest, r.looks[h.kind].token)
		}
	}
	return longest
}

// accepted records that the credential is right. It clears the pair of the attempt if that was a stranger's, or a known
// device's, which has one of its own. The pair of a known source or network stays: a neighbour may share it, and would
// get new tokens for guesses with each login of the user.
func (k *Ticket) accepted(t time.Time, r *rules) {
	l, s := k.limiter, &k.subject
	k.acceptedJA4(l.epoch.ticks(t))
	if s.trust.known() && !k.counted {
		flags := wasCounted
		if _, left := l.known.countLogin(l.epoch.ticks(t), s.keys[kindAccount], &r.accountUse, true); left {
			flags |= spentUse
		}
		k.publishUse(flags)
	}
	if v := validityAt(t, r.KnownTTL); r.KnownTTL > 0 && s.keys[kindAccount] != (key{}) &&
		l.known.learn(t, s.keys[kindAccount], s.fingerprints, v, r.tenthOf(t, v.now), r.TableMax) {
		k.publishKnown(opAccepted, t)
	}
	for _, kd := range [...]kind{kindPair, kindRepeat} {
		if kd == kindPair && s.trust.near() && !s.trust.device {
			continue
		}
		if e, mu := l.table.find(s.keys[kd]); e != nil {
			l.clear(l.epoch.ticks(t), r, e)
			h := hold{key: e.key, kind: e.kind}
			mu.Unlock()
			k.publish(opCleared, h, 0)
		}
	}
}

// clear forgets the denials of a pair or a repeat.
func (e *entry) clear() {
	e.denials, e.looks, e.connects = 0, 0, 0
}

// clearTime is how long an entry shows that it was cleared: longer than other gateways take to report what they denied
// before.
const clearTime = 30 * time.Second

// clearsMax is for how many pairs and repeats without an entry clears are kept, each for clearTime. Others are forgotten, so
// some denials before them count until they are refilled.
const clearsMax = 1 << 14

// clear forgets the denials of e, a pair or a repeat, which is locked. With other gateways, what was denied after now
// remains, as far as it can be told apart, and what was denied before will not count if it is reported later. For that, a
// pair shows when it was denied, see noteDenial, and both have the time of being cleared, plus clearTime, in penaltyUntil.
func (l *Limiter) clear(now ticks, r *rules, e *entry) {
	if r.gateways > 1 {
		if !e.isCleared() {
			return
		}
		denied := ticks(e.connects)
		if e.kind == kindRepeat {
			denied -= ticks(r.RepeatTTL)
		}
		e.penaltyUntil = max(e.penaltyUntil, now.add(clearTime))
		if denied > now {
			if e.kind == kindPair && denied.add(-time.Duration(e.starved)*time.Second) <= now { // only the latest was after now
				e.denials = min(e.denials, bucket(denied.add(r.denials[kindPair].token)))
				e.looks = min(e.looks, bucket(denied.add(r.looks[kindPair].token)))
			}
			return
		}
	}
	e.clear()
	l.table.forgetAlone(e)
}

// noteDenial records that a pair was denied at now: connects is the time of the latest denial, starved the number of seconds
// before it for which there was no other, as far as is known.
func (e *entry) noteDenial(now ticks) {
	latest := ticks(e.connects)
	since := uint8(min(now.until(latest).Abs()/time.Second, math.MaxUint8))
	switch {
	case latest == 0:
		e.connects, e.starved = bucket(now), math.MaxUint8
	case now > latest:
		e.connects, e.starved = bucket(now), since
	default:
		e.starved = min(e.starved, since)
	}
}

// noteClear is clear for a pair or a repeat of key k that has no entry: one that is added later shows that it was cleared.
// An entry for each clear would cost memory for each user, also those with no denials.
func (l *Limiter) noteClear(now ticks, r *rules, k key, kd kind) {
	if e := (entry{kind: kd}); r.gateways == 1 || k == (key{}) || !e.isCleared() {
		return
	}
	s := l.table.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(k); e != nil { // it has been added since the caller has looked
		l.clear(now, r, e)
		return
	}
	s.cleared.note(now, k, clearTime, max(clearsMax/len(l.table.shards), 1))
}

// isCleared reports whether accepted logins clear entries like e.
func (e *entry) isCleared() bool {
	return e.kind == kindPair || e.kind == kindRepeat
}

// isClearedAfter reports whether e, a pair or a repeat, is known to have been cleared later than now.
func (e *entry) isClearedAfter(now ticks) bool {
	return e.penaltyUntil > now.add(clearTime)
}

// spending says which holds are spent when they are released; the others are returned.
type spending uint8

const (
	nothing spending = 0
	denials spending = 1 << iota
	looks
)

// release spends the holds or returns them. A source and a network get a penalty for what is spent.
func (k *Ticket) release(now ticks, r *rules, spend spending) {
	l := k.limiter
	debt := l.debt(r)
	for i, h := range k.holds[:k.held] {
		flags := k.settlement(h, spend)
		e, mu := l.table.find(h.key)
		if h.denial {
			e.holds--
		}
		if h.look {
			e.lookHolds--
		}
		l.countOwn(now, r, e, flags, k.subject.growth, r.divides(h.kind, &k.subject))
		e.settle(now, r, flags, k.subject.growth, debt)
		mu.Unlock()
		if i < k.public {
			flags |= h.flags()
		}
		k.publish(opSettled, h, flags)
	}
	k.held, k.public = 0, 0
}

// settlement returns what is spent of h, and the penalty.
func (k *Ticket) settlement(h hold, spend spending) (f eventFlags) {
	if h.denial && spend&denials != 0 {
		f |= spentDenial
	}
	if h.look && spend&looks != 0 {
		f |= spentLook
	}
	switch {
	case spend&denials != 0:
		f |= wasDenied
	case k.starved:
		f |= wasStarved
	}
	if k.subject.onlyDelays(h.kind) {
		f |= onlyDelays
	}
	return f
}

// settle spends tokens of e and adds the penalty, as f says. If others spend as well, the buckets may be debt times their
// tokens in debt. What was denied at a pair before a login cleared it does not count.
func (e *entry) settle(now ticks, r *rules, f eventFlags, growth, debt int) {
	if f&onlyDelays != 0 {
		debt = 0
	}
	if e.kind == kindPair && r.gateways > 1 && f&(spentDenial|spentLook) != 0 {
		if e.isClearedAfter(now) {
			return
		}
		e.noteDenial(now)
	}
	if f&spentDenial != 0 {
		if limit := r.denialLimit(e.kind, growth); !limit.off() {
			e.denials.spendFor(now, &limit, limit.token, debt)
		}
	}
	if f&spentLook != 0 {
		if limit := r.lookLimit(e.kind, growth); !limit.off() {
			e.looks.spendFor(now, &limit, limit.token, debt)
		}
	}
	if f&(wasDenied|wasStarved) != 0 {
		e.penalize(now, f&wasDenied != 0)
	}
}
