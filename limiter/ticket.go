package limiter

import (
	"net/netip"
	"sync"
	"time"
)

// A Ticket is an attempt under way: its verdict, and the tokens it holds until it is settled. It must not be copied and
// is not safe for concurrent use.
type Ticket struct {
	_        noCopy
	limiter  *Limiter
	verdict  Verdict
	subject  subject
	priority Priority
	deadline ticks   // the latest time at which it may get its global token
	waiter   *waiter // nil unless it has queued
	holds    [4]hold
	held     int  // how many of holds are in use
	charged  bool // an earlier denial of its credential is still charged
	starved  bool // no global token was free in time
	settled  bool
}

// A hold is a token reserved in the entry of key.
type hold struct {
	key  key
	kind kind
}

// noCopy makes go vet report copies of a ticket: both copies would return the same holds.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Ask opens an attempt at time t. Unless refused, the attempt holds a token in each bucket of denials that applies to
// it, so the Ticket must be settled when the attempt is over.
func (l *Limiter) Ask(t time.Time, a Attempt) (k Ticket) {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k.limiter, k.verdict, k.deadline = l, pass, now.add(r.WaitMax)
	k.subject = l.subject(t, a, r)
	k.priority = k.subject.priority()
	repeat := k.isRepeat(now)
	k.applyDenialRules(now, r, !repeat && !k.charged)
	switch {
	case repeat && k.verdict.Action == Refuse:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: r.WaitMax}
	case repeat:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: k.verdict.Wait}
	}
	k.verdict.Wait = jittered(k.verdict.Wait, r.WaitMax, k.subject.keys[kindPair].lo^uint64(now))
	k.verdict.Known, k.verdict.Near = k.subject.trust.known(), k.subject.trust.near()
	return
}

// Verdict returns the stricter of the verdicts of Ask and Enter.
func (k *Ticket) Verdict() Verdict {
	return k.verdict
}

// Again asks again about an attempt, once the wait of a verdict with Again set is over. The new verdict may be another
// such wait, until the attempt has waited for WaitMax.
func (k *Ticket) Again(time.Time) Verdict {
	k.verdict.Again = false
	return k.verdict
}

// Abandon closes the attempt of a client that left a challenge of the backend unanswered, after its exchange had held a
// login slot for the time held. A stranger is charged for that time.
func (k *Ticket) Abandon(t time.Time, _ time.Duration) {
	k.Settle(t, Void)
}

// Priority returns the priority of the attempt where not all attempts can be served. It is final once Enter has
// returned.
func (k *Ticket) Priority() Priority {
	return k.priority
}

// isRepeat reports whether the credential was denied from the source within RepeatTTL. It also sets k.charged.
func (k *Ticket) isRepeat(now ticks) bool {
	if k.subject.trust.credential { // accepted since, from elsewhere
		return false
	}
	e, mu := k.limiter.table.find(k.subject.keys[kindRepeat])
	if e == nil {
		return false
	}
	defer mu.Unlock()
	k.charged = ticks(e.denials) > now
	return ticks(e.connects) > now
}

// applyDenialRules sets the verdict and the priority by each bucket of denials that applies to the attempt. If hold is
// set, it takes a hold in each.
func (k *Ticket) applyDenialRules(now ticks, r *rules, hold bool) {
	tableFull := false // a bucket has no entry, so the network decides as well
	for _, kd := range [...]kind{kindSource, kindPair, kindAccount, kindNetwork} {
		applies := k.subject.applies(kd) || tableFull && kd == kindNetwork
		if !applies || r.denialLimit(kd).off() {
			continue
		}
		e, mu := k.entry(now, kd, r, hold)
		if e == nil {
			tableFull = hold
			continue
		}
		v := r.verdict(now, e)
		if !k.priority.Known() {
			k.priority.class = e.priorityClass(now, k.priority.class)
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
	if tableFull {
		k.limiter.shared.Add(1)
	}
}

// entry returns the entry of kind kd that the attempt is charged to, and its lock, locked. If there is none, it returns
// nil unless add is set; with add it creates one, or returns nil if the table is full. For a network without an entry
// it returns the entry that such networks share.
func (k *Ticket) entry(now ticks, kd kind, r *rules, add bool) (*entry, *sync.Mutex) {
	l, key := k.limiter, k.subject.keys[kd]
	switch {
	case !add:
		return l.table.find(key)
	case kd == kindNetwork:
		return l.networkEntry(now, k.subject.network, r)
	}
	return l.table.findOrAdd(now, key, kd, r.TableMax)
}

// hold takes a hold in e, which is locked.
func (k *Ticket) hold(e *entry) {
	e.holds++
	k.holds[k.held] = hold{e.key, e.kind}
	k.held++
}

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
