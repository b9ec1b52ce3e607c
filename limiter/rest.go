package limiter

import "time"

// Several gateways that count together learn of each other's denials after some milliseconds. If each of them let through
// what is left of a bucket meanwhile, an attacker who guesses at all of them at once would get everything once from each.
// So a gateway may have only its share of the rest under way at a time: attempts that are not settled, and denials that
// are not yet confirmed by the engine, so that the others do not count them. A gateway that cannot reach the others
// divides the bucket instead. Both are about strangers, and about guesses from places that are known: nothing here is asked
// about the logins of users at their usual places.

// ownCounts is what only this gateway counts in a bucket.
type ownCounts struct {
	unacknowledgedDenials int
	unacknowledgedLooks   int
	until                 ticks  // then both are zero, whether or not they were acknowledged
	aloneDenials          bucket // spent while alone, under the limit of this gateway's part
	aloneLooks            bucket
}

// acknowledgeTime is how long a denial that is not acknowledged counts: long after the gateway must have noticed that the
// others cannot be reached. It is lost then.
const acknowledgeTime = 10 * time.Second

// ownMax is for how many buckets there may be ownCounts. Beyond that, those of a shard that are unacknowledged count for all
// its other buckets, so that some strangers wait for nothing; and what is spent while alone counts in the bucket itself, as
// many times as there are gateways. A flood of denials can do no more than that.
const ownMax = 1 << 16

// rest returns how many attempts of those that the rule of kind k refuses may be under way at this gateway in one bucket
// that has left tokens: any number if it counts alone.
func (r *rules) rest(k kind, s *subject, left int) int {
	if r.gateways == 1 || r.alone || !s.sharesRest(k) {
		return maxTokens * maxGrowth
	}
	return max(1, left/r.gateways)
}

// sharesRest reports whether the rule about denials of kind k bounds what all gateways let through together. A token cannot
// be guessed, and a known device has a pair of its own.
func (s *subject) sharesRest(k kind) bool {
	return !s.token && !s.onlyDelays(k) && (k != kindPair || !s.trust.device)
}

// divides reports whether s has only the part of this gateway of the bucket of kind k.
func (r *rules) divides(k kind, s *subject) bool {
	return r.alone && !s.trust.near() && s.sharesRest(k)
}

// denialLimitOf returns the limit on denials in entries of kind k for attempt s.
func (r *rules) denialLimitOf(k kind, s *subject) limit {
	if r.divides(k, s) {
		return r.denialLimit(k, s.growth).divided(r.gateways)
	}
	return r.denialLimit(k, s.growth)
}

// lookLimitOf returns the limit on looks in entries of kind k for attempt s.
func (r *rules) lookLimitOf(k kind, s *subject) limit {
	if r.divides(k, s) {
		return r.lookLimit(k, s.growth).divided(r.gateways)
	}
	return r.lookLimit(k, s.growth)
}

// denials returns the bucket of denials of e for attempt s.
func (o *ownCounts) denials(e *entry, s *subject, r *rules) bucket {
	if r.divides(e.kind, s) {
		return max(e.denials, o.aloneDenials)
	}
	return e.denials
}

// looks returns the bucket of looks of e for attempt s.
func (o *ownCounts) looks(e *entry, s *subject, r *rules) bucket {
	if r.divides(e.kind, s) {
		return max(e.looks, o.aloneLooks)
	}
	return e.looks
}

// own returns what only this gateway counts in e, which is locked.
func (l *Limiter) own(now ticks, e *entry, r *rules) (o ownCounts) {
	if r.gateways == 1 || e.kind == kindNetwork {
		return o
	}
	s := l.table.shard(e.key)
	o, ok := s.own[e.key]
	if !ok {
		o = s.rest
	}
	if o.until <= now {
		o.unacknowledgedDenials, o.unacknowledgedLooks = 0, 0
	}
	return o
}

// countOwn counts what this gateway is about to spend in e, which is locked, as f says. divided is set if it has only its
// part of the bucket.
func (l *Limiter) countOwn(now ticks, r *rules, e *entry, f eventFlags, growth int, divided bool) {
	switch {
	case r.gateways == 1, e.kind == kindNetwork, f&onlyDelays != 0, f&(spentDenial|spentLook) == 0:
	case !r.alone:
		if l.sharesDenials { // otherwise nothing will be acknowledged
			l.table.addUnacknowledged(now, e.key, f, 1)
		}
	case divided:
		var denials, looks time.Duration
		if f&spentDenial != 0 {
			denials = r.denialLimit(e.kind, growth).token
		}
		if f&spentLook != 0 {
			looks = r.lookLimit(e.kind, growth).token
		}
		l.table.spendAlone(now, r, e, growth, denials, looks)
	}
}

// countOwnSlot is countOwn for a login slot that was held for the time held.
func (l *Limiter) countOwnSlot(now ticks, r *rules, e *entry, held time.Duration, f eventFlags, growth int, divided bool) {
	if !r.alone {
		l.countOwn(now, r, e, f|spentDenial, growth, false)
	} else if divided && e.kind != kindNetwork {
		limit := r.denialLimit(e.kind, growth)
		l.table.spendAlone(now, r, e, growth, slotCost(held, &limit), 0)
	}
}

// spendAlone spends what refills in these times from the part of this gateway of the buckets of e, which is locked. The
// buckets themselves have not been spent from yet.
func (tb *table) spendAlone(now ticks, r *rules, e *entry, growth int, denials, looks time.Duration) {
	n := time.Duration(min(r.gateways, maxDebt))
	s := tb.shard(e.key)
	o, ok := s.own[e.key]
	if !ok && !s.hasRoom(now, tb.ownMax()) {
		if limit := r.denialLimit(e.kind, growth); denials > 0 {
			e.denials.spendFor(now, &limit, (n-1)*denials, r.debt())
		}
		if limit := r.lookLimit(e.kind, growth); looks > 0 {
			e.looks.spendFor(now, &limit, (n-1)*looks, r.debt())
		}
		return
	}
	if limit := r.denialLimit(e.kind, growth).divided(r.gateways); denials > 0 {
		o.aloneDenials = max(o.aloneDenials, e.denials)
		o.aloneDenials.spendFor(now, &limit, n*denials, 0)
	}
	if limit := r.lookLimit(e.kind, growth).divided(r.gateways); looks > 0 {
		o.aloneLooks = max(o.aloneLooks, e.looks)
		o.aloneLooks.spendFor(now, &limit, n*looks, 0)
	}
	s.setOwn(e.key, o)
}

// addUnacknowledged adds n denials, looks or both, as f says, to those of key k that are not acknowledged; n may be -1. The
// shard of k is locked.
func (tb *table) addUnacknowledged(now ticks, k key, f eventFlags, n int) {
	s := tb.shard(k)
	o, ok := s.own[k]
	inRest := !ok && (n < 0 || !s.hasRoom(now, tb.ownMax()))
	if inRest {
		o = s.rest
	}
	if o.until <= now {
		o.unacknowledgedDenials, o.unacknowledgedLooks = 0, 0
	}
	if f&spentDenial != 0 {
		o.unacknowledgedDenials = max(o.unacknowledgedDenials+n, 0)
	}
	if f&spentLook != 0 {
		o.unacknowledgedLooks = max(o.unacknowledgedLooks+n, 0)
	}
	if n > 0 {
		o.until = max(o.until, now.add(acknowledgeTime))
	}
	switch {
	case inRest:
		s.rest = o
	case o.unacknowledgedDenials == 0 && o.unacknowledgedLooks == 0 && o.aloneDenials == 0 && o.aloneLooks == 0:
		delete(s.own, k)
	default:
		s.setOwn(k, o)
	}
}

// ownMax is how many keys each shard may have ownCounts for.
func (tb *table) ownMax() int {
	return ownMax / len(tb.shards)
}

func (s *shard) setOwn(k key, o ownCounts) {
	if s.own == nil {
		s.own = map[key]ownCounts{}
	}
	s.own[k] = o
}

// hasRoom drops a few ownCounts that say nothing any more, and reports whether fewer than limit remain.
func (s *shard) hasRoom(now ticks, limit int) bool {
	checked := 0
	for k, o := range s.own {
		if checked++; checked > expiryChecks {
			break
		}
		if o.until <= now && ticks(max(o.aloneDenials, o.aloneLooks)) <= now {
			delete(s.own, k)
		}
	}
	return len(s.own) < limit
}

// forgetAlone forgets what was spent of the part of this gateway in the buckets of e, which is locked.
func (tb *table) forgetAlone(e *entry) {
	if e.kind == kindNetwork { // it may be a shared entry, which has another lock
		return
	}
	s := tb.shard(e.key)
	if o, ok := s.own[e.key]; ok {
		o.aloneDenials, o.aloneLooks = 0, 0
		s.own[e.key] = o
	}
}

// forgetOwn forgets all that only this gateway counts.
func (tb *table) forgetOwn() {
	for i := range tb.shards {
		s := &tb.shards[i]
		s.mu.Lock()
		s.own, s.rest = nil, ownCounts{}
		s.mu.Unlock()
	}
}
