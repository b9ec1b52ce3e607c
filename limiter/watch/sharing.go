package watch

import "time"

// tickAge is the age from which on counts of another gateway are dropped.
const tickAge = time.Minute

// TakeTick returns the counts of this gateway alone in the ticks that ended since the last call, for [Watch.AddTick] at the
// other gateways. It returns each tick once, and nil if none has ended. They have at most 32 KB, and mostly less than 2 KB.
// The first call returns nil: from then on counts are kept for it.
func (w *Watch) TakeTick() []byte {
	w.mu.Lock()
	own := w.own
	if own == nil || w.ended {
		w.own, w.ended = newGatewayTick(), false
		w.hours.own = w.own
	} else {
		own = nil
	}
	w.mu.Unlock()
	if own == nil {
		return nil
	}
	return own.encode()
}

// AddTick adds the counts of another gateway, as its TakeTick has returned them, to the current tick, each once. t is when
// they were taken: counts older than a minute are dropped. On error nothing has changed.
func (w *Watch) AddTick(t time.Time, data []byte) error {
	k, err := decodeTick(data)
	if err != nil {
		return err
	}
	now := w.lock(t)
	defer w.mu.Unlock()
	if now.Sub(t) < tickAge {
		w.add(now, k)
	}
	return nil
}

// SetAlone says at time t whether the other gateways of the site cannot be reached. Then this gateway sees only a part of
// the logins: only this part of what was learned is expected, and nothing is learned, for a day at most. It is not for
// gateways that have left the site, whose clients come to the others.
func (w *Watch) SetAlone(t time.Time, alone bool) {
	t = w.lock(t)
	defer w.mu.Unlock()
	since := w.site.alone
	switch {
	case alone == !since.IsZero():
	case alone:
		w.site.alone = t
	default:
		w.site.alone = time.Time{}
		if t.Sub(since) >= aloneMost {
			w.detector.dayFactor = newDayFactor() // it is of a part of the site
		}
	}
}

// sum returns the counts to evaluate at the end of a tick, and the number of logins of the known at this gateway in them.
// If there are other gateways, these are the counts of the tick before: those of this gateway, which were kept, and those of
// the others, which have arrived by now. So all gateways evaluate the same. It returns false when the first tick is kept.
func (w *Watch) sum() (sum *counts, own int, ok bool) {
	if w.own == nil && !w.lagging {
		return &w.counts, w.counts.known.all(), true
	}
	sum, own, ok = &w.others, w.before.known.all(), w.lagging
	sum.add(&w.before)
	w.before.reset()
	if w.lagging = w.own != nil; !w.lagging {
		sum.add(&w.counts)
		return sum, own, ok
	}
	w.before, w.counts = w.counts, w.before
	w.own.counts.add(&w.before)
	w.ended = true
	return sum, own, ok
}

// add adds the counts k of another gateway at t.
func (w *Watch) add(t time.Time, k *gatewayTick) {
	w.site.added++
	w.others.add(&k.counts)
	for kind, accounts := range k.proven {
		for _, hash := range accounts.places() {
			w.detector.proven.add(t, provenKind(kind), hash)
		}
	}
	for network, n := range k.slow {
		hash := w.hash.block(network)
		for range n {
			w.spray.attempt(t, hash)
		}
	}
	if k.abuseAlarm {
		w.site.abuseUntil = t.Add(abuseHeld)
	}
	w.site.abused += k.abused
	w.hours.add(t, k)
}

// add adds the counts k of another gateway to the hour, at t.
func (c *collector) add(t time.Time, k *gatewayTick) {
	for i, g := range k.guesses {
		a := hashedAttempt{
			Attempt: &Attempt{Source: g.source, Network: g.network, Account: g.account},
			name:    g.account, accountHash: c.hash.account(g.account), networkHash: c.hash.block(g.network),
		}
		c.suspect(t, &a, k.weight(i))
	}
	c.hour.Distinct.merge(Distinct{Sources: k.distinct.Sources, Accounts: k.distinct.Accounts})
	c.distinct.merge(k.distinct.Networks)
	for _, a := range k.acceptances {
		a.Time = t
		c.list(a)
	}
	for _, r := range k.rules {
		r.First, r.Last = t, t
		if sum := countsOf(&c.hour.Rules, r.Rule); sum != nil {
			if sum.First.IsZero() {
				sum.First = t
			}
			sum.add(r)
		}
	}
	for _, a := range k.abuses {
		a.Time = t
		c.hour.Abused, _ = mergeCounted(c.hour.Abused, []Abuse{a}, hourAbused, (*Abuse).count, (*Abuse).add)
	}
}
