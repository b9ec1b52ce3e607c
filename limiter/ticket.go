package limiter

import (
	"sync"
	"time"
)

// A Ticket is an attempt under way: the verdict on it, and what it holds until it is settled. It must not be copied and
// is not safe for concurrent use.
type Ticket struct {
	_        noCopy
	limiter  *Limiter
	verdict  Verdict
	subject  subject
	priority Priority
	deadline ticks   // when it must have had its turn
	waiter   *waiter // once it has queued
	holds    [4]hold
	held     int  // how many holds
	paid     bool // its credential was charged not long ago
	starved  bool // it was turned away for want of a turn
	settled  bool
}

// A hold is a token of the entry of key, kept from others.
type hold struct {
	key  key
	kind kind
}

// Ask opens an attempt at time t. Unless refused it holds a token in each bucket of denials it falls into, so the Ticket
// must be settled when the attempt is over.
func (l *Limiter) Ask(t time.Time, a Attempt) (k Ticket) {
	now, r := l.origin.ticks(t), l.rules.Load()
	k.limiter, k.verdict, k.deadline = l, pass, now.add(r.WaitMax)
	k.subject = l.subject(t, a, r)
	k.priority = k.subject.priority()
	repeat := k.repeats(now)
	k.judge(now, r, !repeat && !k.paid)
	switch {
	case repeat && k.verdict.Action == Refuse:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: r.WaitMax}
	case repeat:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: k.verdict.Wait}
	}
	k.verdict.Wait = jittered(k.verdict.Wait, r.WaitMax, k.subject.keys[ofPair].lo^uint64(now))
	k.verdict.Known, k.verdict.Near = k.subject.trust.known(), k.subject.trust.near()
	return
}

// Verdict returns the strictest of what was decided when the attempt was opened and when it entered.
func (k *Ticket) Verdict() Verdict {
	return k.verdict
}

// Order returns the attempt's place among others, for whoever has to choose between them. It is final once the ticket
// has entered.
func (k *Ticket) Priority() Priority {
	return k.priority
}

// repeats reports whether the credential was denied from the source too recently to try it again. It finds out as well
// whether a denial would be charged.
func (k *Ticket) repeats(now ticks) bool {
	if k.subject.trust.credential { // accepted since, from elsewhere
		return false
	}
	e, mu := k.limiter.table.find(k.subject.keys[ofRepeat])
	if e == nil {
		return false
	}
	defer mu.Unlock()
	k.paid = ticks(e.denials) > now
	return ticks(e.connects) > now
}

// judge judges the attempt by each bucket of denials it falls into, and with hold takes a token there.
func (k *Ticket) judge(now ticks, r *rules, hold bool) {
	homeless := false // without room for a bucket of its own, so its network answers for it
	for _, kd := range [...]kind{ofSource, ofPair, ofAccount, ofNetwork} {
		applies := k.subject.applies(kd) || homeless && kd == ofNetwork
		if !applies || r.denials(kd).off() {
			continue
		}
		e, mu := k.entry(now, kd, r, hold)
		if e == nil {
			homeless = hold
			continue
		}
		v := r.judge(now, e)
		if !k.priority.Known() {
			k.priority.class = e.rank(now, k.priority.class)
		}
		if hold && v.Action != Refuse {
			k.hold(e)
		}
		mu.Unlock()
		if k.verdict = stricter(k.verdict, v); v.Action == Refuse {
			k.release(now, r, false)
			return
		}
	}
	if homeless {
		k.limiter.shared.Add(1)
	}
}

// entry returns the entry of kind kd that the attempt falls into, and its lock, locked. Unless add is set, it returns
// nil if there is none; else if there is no room for one, which a network shares with others like it.
func (k *Ticket) entry(now ticks, kd kind, r *rules, add bool) (*entry, *sync.Mutex) {
	l, key := k.limiter, k.subject.keys[kd]
	switch {
	case !add:
		return l.table.find(key)
	case kd == ofNetwork:
		return l.network(now, k.subject.network, r)
	}
	return l.table.take(now, key, kd, r.TableMax)
}

// hold takes a token of e, which is locked.
func (k *Ticket) hold(e *entry) {
	e.holds++
	k.holds[k.held] = hold{e.key, e.kind}
	k.held++
}

// Settle closes the attempt at time t. Denied spends its holds, Accepted and Void hand them back without trace. Accepted
// also makes credential, source and network known for the account, and forgets what the account's denials from this
// source cost the two of them. A refused ticket holds nothing; if its caller went on all the same and was accepted, that
// is learned. A token of the global bucket is spent with the turn, whatever the answer; that no turn came is remembered of
// where the attempt came from, for the order of those who come again. Settling again does nothing.
func (k *Ticket) Settle(t time.Time, o Outcome) {
	if k.settled || k.limiter == nil {
		return
	}
	k.settled = true
	l := k.limiter
	now, r := l.origin.ticks(t), l.rules.Load()
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

// denied notes that the credential is wrong, and reports whether that is to be charged: not if the same was charged
// before and what it cost is not back yet. A known credential that is denied is none any more, and is charged after all.
func (k *Ticket) denied(now ticks, r *rules) bool {
	s := &k.subject
	if s.trust.credential {
		k.limiter.known.forget(s.keys[ofAccount], s.fingerprints.credential)
		s.trust.credential = false
		for _, kd := range [...]kind{ofSource, ofPair} {
			if s.exempt || r.denials(kd).off() {
				continue
			}
			if e, mu := k.entry(now, kd, r, true); e != nil {
				k.hold(e)
				mu.Unlock()
			}
		}
	}
	if s.keys[ofRepeat] == (key{}) {
		return true
	}
	e, mu := k.limiter.table.take(now, s.keys[ofRepeat], ofRepeat, r.TableMax)
	if e == nil {
		return !k.paid
	}
	defer mu.Unlock()
	charge := !k.paid && ticks(e.denials) <= now
	if charge {
		e.denials = bucket(now.add(k.cost(r)))
	}
	e.connects = bucket(now.add(r.RepeatTTL))
	return charge
}

// cost is how long it takes until every token the attempt holds would be back.
func (k *Ticket) cost(r *rules) (longest time.Duration) {
	for _, h := range k.holds[:k.held] {
		longest = max(longest, r.denials(h.kind).token)
	}
	return longest
}

// accepted notes that the credential is right. One good account launders nothing but its own pair.
func (k *Ticket) accepted(t time.Time, r *rules) {
	l, s := k.limiter, &k.subject
	if r.KnownTTL > 0 && s.keys[ofAccount] != (key{}) {
		l.known.learn(t, s.keys[ofAccount], s.fingerprints, keptFor(t, r.KnownTTL), r.TableMax)
	}
	for _, kd := range [...]kind{ofPair, ofRepeat} {
		if kd == ofPair && s.pairOfNetwork() {
			continue
		}
		if e, mu := l.table.find(s.keys[kd]); e != nil {
			e.denials, e.connects = 0, 0
			mu.Unlock()
		}
	}
}

// release hands the holds back, or spends them.
func (k *Ticket) release(now ticks, r *rules, spend bool) {
	for _, h := range k.holds[:k.held] {
		e, mu := k.limiter.table.find(h.key)
		e.holds--
		if limit := r.denials(h.kind); spend && !limit.off() {
			e.denials.spend(now, limit)
		}
		if spend || k.starved {
			e.penalize(now, spend)
		}
		mu.Unlock()
	}
	k.held = 0
}

// noCopy makes vet complain where a ticket is copied: both would give back the same holds.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
