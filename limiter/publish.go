package limiter

import "time"

// flags returns what of h is held.
func (h hold) flags() (f eventFlags) {
	if h.denial {
		f |= heldDenial
	}
	if h.look {
		f |= heldLook
	}
	return f
}

// flags returns the flags that decide how many entries the table may have for s.
func (s *subject) flags() (f eventFlags) {
	if s.trust.near() {
		f |= isNear
	}
	if s.trust.secrets {
		f |= hasSecrets
	}
	return f
}

// publishHolds publishes all holds of k.
func (k *Ticket) publishHolds() {
	k.public = k.held
	if !k.limiter.wants(opHeld) {
		return
	}
	for _, h := range k.holds[:k.held] {
		k.publish(opHeld, h, h.flags())
	}
}

// publish publishes what has happened to the entry of h, unless that is nothing.
func (k *Ticket) publish(o op, h hold, f eventFlags) {
	if !k.limiter.wants(o) || o == opSettled && f&^onlyDelays == 0 {
		return
	}
	s := &k.subject
	k.limiter.publish(&event{op: o, kind: h.kind, key: h.key, growth: uint16(s.growth), flags: f | s.flags()})
}

// publishSlot publishes that the entry of h is charged for a login slot.
func (k *Ticket) publishSlot(h hold, held time.Duration) {
	if k.limiter.wants(opSlot) {
		s := &k.subject
		f := s.flags()
		if s.onlyDelays(h.kind) {
			f |= onlyDelays
		}
		k.limiter.publish(&event{op: opSlot, kind: h.kind, key: h.key, growth: uint16(s.growth), flags: f, first: held})
	}
}

// publishRepeat publishes that the entry of the repeat of k has changed.
func (k *Ticket) publishRepeat(o op, match bool, first, second time.Duration) {
	if !k.limiter.wants(o) {
		return
	}
	s := &k.subject
	f := s.flags()
	if match {
		f |= wasMatch
	}
	k.limiter.publish(&event{op: o, kind: kindRepeat, key: s.keys[kindRepeat], flags: f, first: first, second: second})
}

// publishUse publishes that the attempt of k has used the reserved lane, unless nothing counts.
func (k *Ticket) publishUse(f eventFlags) {
	if f == 0 || !k.limiter.wants(opUsed) {
		return
	}
	s := &k.subject
	k.limiter.publish(&event{op: opUsed, kind: kindUse, key: s.keys[kindUse], account: s.keys[kindAccount], flags: f | s.flags()})
}

// publishKnown publishes what has happened to the account of k in the known table.
func (k *Ticket) publishKnown(o op, t time.Time) {
	if k.limiter.wants(o) {
		s := &k.subject
		k.limiter.publish(&event{op: o, account: s.keys[kindAccount], known: s.fingerprints, hours: hours(t)})
	}
}

// publishMerged publishes an account of a snapshot.
func (l *Limiter) publishMerged(t time.Time, account key, a *knownAccount) {
	if l.wants(opMerged) {
		v := validityAt(t, l.rules.Load().KnownTTL)
		l.publish(&event{op: opMerged, hours: hours(t), record: a.appendTo(nil, account, v)})
	}
}

// hours returns the hours from 1970 to t.
func hours(t time.Time) uint32 {
	return uint32(t.Unix() / 3600)
}

// earlier returns the given hour from 1970, or h if that is in the future.
func (h hour) earlier(hours uint32) hour {
	if at := hour(hours); int16(at-h) < 0 {
		return at
	}
	return h
}
