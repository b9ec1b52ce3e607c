package limiter

import (
	"sync"
	"time"
)

// A Ticket is an attempt under way: its verdict, and the tokens it holds until it is settled. It must not be copied and
// is not safe for concurrent use.
type Ticket struct {
	_        noCopy
	limiter  *Limiter
	attempt  Attempt
	verdict  Verdict
	subject  subject
	priority Priority
	asked    ticks   // when Ask was called
	deadline ticks   // the latest time at which it may get its global token
	waiter   *waiter // nil unless it has queued
	holds    [6]hold
	held     int   // how many of holds are in use
	lookDue  ticks // when a token for a look may be free; zero if there is one
	charged  bool  // an earlier denial of its credential is still charged
	lookPaid bool  // so is an earlier look at it
	looked   bool  // its credential was compared with those known
	starved  bool  // no global token was free in time
	settled  bool
}

// A hold is what an attempt has reserved in the entry of key: a token of its denials, one of its looks, or both.
type hold struct {
	key          key
	kind         kind
	denial, look bool
}

// noCopy makes go vet report copies of a ticket: both copies would return the same holds.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Ask opens an attempt at time t. Unless refused, the attempt holds a token in each bucket of denials that applies to
// it, so the Ticket must be settled when the attempt is over.
func (l *Limiter) Ask(t time.Time, a Attempt) (k Ticket) {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k.limiter, k.attempt, k.asked, k.deadline = l, a, now, now.add(r.WaitMax)
	k.ask(t, now, r)
	return
}

// Again asks again about an attempt, once the wait of a verdict with Again set is over. The new verdict may be another
// such wait, until the attempt has waited for WaitMax in all.
func (k *Ticket) Again(t time.Time) Verdict {
	if k.verdict.Again && !k.settled {
		l := k.limiter
		k.ask(t, l.epoch.ticks(t), l.rules.Load())
	}
	return k.verdict
}

// ask finds the verdict at time t. The ticket holds nothing yet.
func (k *Ticket) ask(t time.Time, now ticks, r *rules) {
	k.verdict, k.looked, k.lookDue = pass, false, 0
	k.subject = k.limiter.subject(t, k.attempt, r)
	k.priority = k.subject.priority()
	repeat := k.isRepeat(now)
	usual := !repeat && k.isUsual()
	if !usual {
		k.applyDenialRules(now, r, !repeat && !k.charged)
	}
	switch v := k.verdict; {
	case usual:
		k.looked, k.subject.trust.credential = true, true
	case repeat && v.Action == Refuse:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: r.WaitMax}
	case repeat:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: v.Wait}
	case v.Again:
		k.release(now, r, nothing)
	default:
		k.look(now, r)
	}
	k.verdict.Wait = jittered(k.verdict.Wait, r.WaitMax, k.subject.keys[kindPair].lo^uint64(now))
	if k.verdict.Wait > 0 && k.asked < now { // what it has waited already counts
		k.shortenWait(now)
	}
	k.verdict.Known, k.verdict.Near = k.subject.trust.known(), k.subject.trust.near()
}

// isUsual reports whether the attempt is near, shows a credential that is known, and has no denials against it: as
// nearly all attempts of users are. It holds nothing.
func (k *Ticket) isUsual() bool {
	if !k.subject.matches || !k.subject.trust.near() {
		return false
	}
	e, mu := k.limiter.table.find(k.subject.keys[kindPair])
	if e != nil {
		mu.Unlock()
	}
	return e == nil
}

// shortenWait takes off the wait of the verdict what the attempt has waited since Ask.
func (k *Ticket) shortenWait(now ticks) {
	v := &k.verdict
	switch {
	case v.Again:
		v.Wait = min(v.Wait, max(now.until(k.deadline), 1))
	default:
		v.Wait = max(v.Wait-k.asked.until(now), 0)
		if v.Action == Wait && v.Wait == 0 {
			*v = pass
		}
	}
}

// Verdict returns the stricter of the verdicts of Ask, or Again, and Enter.
func (k *Ticket) Verdict() Verdict {
	return k.verdict
}

// Priority returns the priority of the attempt where not all attempts can be served. It is final once Enter has
// returned.
func (k *Ticket) Priority() Priority {
	return k.priority
}

// isRepeat reports whether the credential was denied from the source within RepeatTTL, and not accepted since. It also
// sets k.charged and k.lookPaid.
func (k *Ticket) isRepeat(now ticks) bool {
	e, mu := k.limiter.table.find(k.subject.keys[kindRepeat])
	if e == nil {
		k.charged, k.lookPaid = false, false
		return false
	}
	defer mu.Unlock()
	k.charged, k.lookPaid = ticks(e.denials) > now, ticks(e.looks) > now
	return ticks(e.connects) > now && (!k.subject.matches || e.starved == deniedMatch)
}

// applyDenialRules sets the verdict and the priority by each bucket of denials that applies to the attempt. If hold is
// set, it takes holds of denials, and of looks where the attempt may need one. If the table is full, the network decides
// instead of a bucket without an entry.
func (k *Ticket) applyDenialRules(now ticks, r *rules, hold bool) {
	again, tableFull := false, false
	apply := func(kd kind) {
		if r.denials[kd].off() {
			return
		}
		e, mu := k.entry(now, kd, r, hold)
		if e == nil {
			tableFull = hold
			return
		}
		defer mu.Unlock()
		v := k.applyDenialRule(now, r, e, hold)
		again = again || v.Again
		k.verdict = stricter(k.verdict, v)
	}
	for _, kd := range [...]kind{kindSource, kindNetwork, kindPrefix, kindWidePrefix, kindPair, kindAccount} {
		if k.subject.applies(kd) {
			apply(kd)
		}
	}
	if tableFull {
		k.limiter.shared.Add(1)
		k.lookDue = k.deadline + 1 // what cannot be counted must not be looked at
		if !k.subject.applies(kindNetwork) {
			apply(kindNetwork)
		}
	}
	if again && k.verdict.Action != Refuse {
		k.verdict = Verdict{Action: Wait, Rule: RuleSource, Wait: lineDelay, Again: true}
	}
}

// applyDenialRule returns the verdict of e, which is locked.
func (k *Ticket) applyDenialRule(now ticks, r *rules, e *entry, reserve bool) Verdict {
	v := r.verdict(now, e, &k.subject, k.priority.class)
	if v.Again && now.add(v.Wait) > k.deadline {
		v = refusal(v.Rule)
	}
	if !k.priority.Known() {
		k.priority.class = e.priorityClass(now, k.priority.class, k.subject.growth)
	}
	if !reserve {
		return v
	}
	h := hold{key: e.key, kind: e.kind, denial: v.Action != Refuse && !v.Again}
	if h.denial {
		e.holds++
	}
	if h.look = k.holdLook(now, r, e, v); h.denial || h.look {
		k.holds[k.held] = h
		k.held++
	}
	return v
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
		return l.networkEntry(now, key, k.subject.network, r)
	}
	return l.table.findOrAdd(now, key, kd, k.tableMax(r))
}

// tableMax returns how many entries the table may have when the attempt adds one: strangers who fill it must not take
// the entries from those who are near.
func (k *Ticket) tableMax(r *rules) int {
	if k.subject.trust.near() {
		return r.TableMax + r.TableMax/8
	}
	return r.TableMax
}

// Peek returns what is certain at time t about an attempt that has shown no credential yet, as at USER of POP3. It
// spends and holds nothing. It refuses only if no credential could pass, and passes otherwise: an empty pair or account
// refuses unless some credential of the account is known, which this client may have.
//
// The bucket of the source does not count. A source with an empty one could otherwise learn, at no cost, whether the
// owner of any account logged in lately; through pair and account it can learn that only by emptying those first.
func (l *Limiter) Peek(t time.Time, a Attempt) Verdict {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, verdict: pass, subject: l.subject(t, a, r)}
	if k.subject.trust.secrets {
		return pass
	}
	for _, kd := range [...]kind{kindPair, kindAccount} {
		if r.denials[kd].off() || !k.subject.applies(kd) {
			continue
		}
		if e, mu := k.entry(now, kd, r, false); e != nil {
			v := r.verdict(now, e, &k.subject, classUnpenalized)
			mu.Unlock()
			if v.Action == Refuse {
				return v
			}
		}
	}
	return pass
}

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
	if k.waiter != nil {
		k.starved = l.globalQueue.leave(k.waiter)
	}
	spend := nothing
	switch {
	case o == Denied && k.verdict.Action < Repeat:
		spend = k.denied(now, r)
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
	if k.settled || k.limiter == nil || k.subject.trust.near() {
		k.Settle(t, Void)
		return
	}
	now, r := k.limiter.epoch.ticks(t), k.limiter.rules.Load()
	part := min(float64(held)/float64(slotTime), maxTokens)
	for _, h := range k.holds[:k.held] {
		if h.kind == kindAccount || !h.denial {
			continue
		}
		e, mu := k.limiter.table.find(h.key)
		limit := r.denialLimit(h.kind, &k.subject)
		e.denials.spendFor(now, &limit, time.Duration(min(part*float64(limit.token), float64(limit.span()))))
		e.penalize(now, true)
		mu.Unlock()
	}
	k.Settle(t, Void)
}

// deniedMatch is the value of entry.starved for a repeat whose credential is known, and was denied all the same. It is
// the wrong one for that account: it matches by chance, or is no longer valid.
const deniedMatch = 1

// denied records that the credential is wrong, and returns what is spent: nothing if an earlier denial of the same
// credential is still charged. A known credential that is denied becomes unknown if the attempt is near: one that
// matches by chance must not make strangers of users.
func (k *Ticket) denied(now ticks, r *rules) spending {
	s := &k.subject
	if s.trust.credential && s.trust.near() {
		k.limiter.known.forgetCredential(s.keys[kindAccount], s.fingerprints.credential)
		if k.held == 0 && !k.charged && !r.denials[kindPair].off() {
			if e, mu := k.entry(now, kindPair, r, true); e != nil {
				e.holds++
				k.holds[0], k.held = hold{key: e.key, kind: e.kind, denial: true}, 1
				mu.Unlock()
			}
		}
	}
	if s.shown && !s.trust.near() {
		k.limiter.sprays.denied(now, s)
	}
	spend := denials
	if s.trust.credential {
		spend = denials | looks
	}
	if !k.charge(now, r, spend) {
		spend = nothing
	}
	if e, mu := k.limiter.table.find(s.keys[kindRepeat]); e != nil {
		e.connects = bucket(now.add(r.RepeatTTL))
		e.starved = 0
		if s.trust.credential {
			e.starved = deniedMatch
		}
		mu.Unlock()
	}
	return spend
}

// charge reports whether the credential must be paid for, by a denial or by a look, and records for how long it is then:
// until all tokens that are spent are back. It must not if it is paid for already.
func (k *Ticket) charge(now ticks, r *rules, spend spending) bool {
	paid := k.charged || spend == looks && k.lookPaid
	if paid || k.subject.keys[kindRepeat] == (key{}) || spend != looks && r.RepeatTTL == 0 {
		return !paid
	}
	e, mu := k.limiter.table.findOrAdd(now, k.subject.keys[kindRepeat], kindRepeat, k.tableMax(r))
	if e == nil {
		return true
	}
	defer mu.Unlock()
	until := &e.denials
	if spend == looks {
		until = &e.looks
	}
	if ticks(*until) > now {
		return false
	}
	*until = bucket(now.add(max(k.cost(r, spend), 1)))
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
			e.denials, e.looks, e.connects = 0, 0, 0
			mu.Unlock()
		}
	}
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
	for _, h := range k.holds[:k.held] {
		e, mu := k.limiter.table.find(h.key)
		if h.denial {
			e.holds--
			if limit := r.denialLimit(h.kind, &k.subject); spend&denials != 0 && !limit.off() {
				e.denials.spend(now, &limit)
			}
		}
		if h.look {
			e.lookHolds--
			if limit := r.lookLimit(h.kind, &k.subject); spend&looks != 0 && !limit.off() {
				e.looks.spend(now, &limit)
			}
		}
		if spend&denials != 0 || k.starved {
			e.penalize(now, spend&denials != 0)
		}
		mu.Unlock()
	}
	k.held = 0
}
