package limiter

import (
	"encoding/binary"
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
	public   int   // how many of these siblings know
	lookDue  ticks // when a token for a look may be free; zero if there is one
	charged  bool  // an earlier denial of its credential is still charged
	lookPaid bool  // so is an earlier look at it
	looked   bool  // its credential was compared with those known
	overused bool  // it is known, but has the priority of a stranger
	counted  bool  // its login counts in the usage of the account
	starved  bool  // no global token was free in time
	settled  bool

	inspected bool  // it is none of a client: it must change nothing
	assumed   match // then, what its credential is for the account
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
	l.cut.RLock()
	k.ask(t, now, r)
	l.cut.RUnlock()
	return
}

// Again asks again about an attempt, once the wait of a verdict with Again set is over. The new verdict may be another
// such wait, until the attempt has waited for WaitMax in all.
func (k *Ticket) Again(t time.Time) Verdict {
	if k.verdict.Again && !k.settled {
		l := k.limiter
		l.cut.RLock()
		k.ask(t, l.epoch.ticks(t), l.rules.Load())
		l.cut.RUnlock()
	}
	return k.verdict
}

// ask finds the verdict at time t. The ticket holds nothing yet.
func (k *Ticket) ask(t time.Time, now ticks, r *rules) {
	k.verdict, k.looked, k.lookDue = pass, false, 0
	k.subject = k.limiter.subject(t, k.attempt, r)
	if k.inspected {
		k.subject.match = k.assumed
	}
	k.priority = k.subject.priority()
	if k.subject.blocked {
		k.verdict = refusal(RuleBlocked)
		k.verdict.Known, k.verdict.Near = k.subject.trust.known(), k.subject.trust.near()
		return
	}
	if k.networkIsSpent(now, r) {
		k.forgetNetwork(t)
	}
	repeat := k.isRepeat(now)
	usual := !repeat && k.isUsual()
	if !usual {
		k.applyDenialRules(now, r, !repeat)
	}
	switch v := k.verdict; {
	case usual:
		k.looked, k.subject.trust.credential = true, true
	case repeat && v.Action == Refuse:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: r.WaitMax}
	case repeat:
		k.verdict = Verdict{Action: Repeat, Rule: RuleRepeat, Wait: v.Wait}
	case v.Again && r.gateways > 1:
		k.lookInTurn(now, r)
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
	k.publishHolds()
}

// networkIsSpent reports whether only the network of the attempt is known, and its pair has no token left. Then a
// neighbour has guessed.
func (k *Ticket) networkIsSpent(now ticks, r *rules) bool {
	limit := &r.denials[kindPair]
	if !k.subject.sharesNetworkPair() || limit.off() {
		return false
	}
	e, mu := k.limiter.table.find(k.subject.keys[kindPair])
	if e == nil {
		return false
	}
	defer mu.Unlock()
	return e.denials.spent(now, limit)+int(e.holds) >= limit.tokens
}

// forgetNetwork makes the attempt that of a stranger: the owner of the account must not be worse off in a network they
// know than anywhere else.
func (k *Ticket) forgetNetwork(t time.Time) {
	l, s := k.limiter, &k.subject
	s.trust.network = false
	source := Source(k.attempt.Addr)
	s.growth = l.known.sources.growth(blockFingerprint(l.hasher.block(kindSource, source)), hourOf(t))
	s.setPairKeys(l, source, k.attempt)
	s.attackJA4 = l.hasAttackJA4(l.epoch.ticks(t), k.attempt)
	k.priority = s.priority()
}

// isUsual reports whether the attempt is near, shows a credential that is known, and has no denials against it: as
// nearly all attempts of users are. It holds nothing.
func (k *Ticket) isUsual() bool {
	if !k.subject.match.known || !k.subject.trust.near() {
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

// Traits are what a ticket says of its attempt beside the verdict, for those who watch all attempts together. No rule
// depends on them, and no client may learn them: they tell whether a password is right.
type Traits struct {
	NetworkOnly bool   // known only because the account was accepted from the network: the client may be a neighbour
	Worked      bool   // the credential is the one that was accepted last for the account, within KnownTTL
	Former      bool   // the credential was accepted for the account, but another one later
	Compared    bool   // a secret was shown, and a credential of the account is known to compare it with
	Overused    bool   // known, but the account, or its source or device on it, has used its share of the reserved lane
	Credential  uint64 // a keyed digest of account and secret; zero if no secret was shown, or a token was
}

// Traits returns the traits of the attempt as of the latest of Ask, Again and Enter.
func (k *Ticket) Traits() Traits {
	s := &k.subject
	t := Traits{
		NetworkOnly: s.trust.known() && !s.trust.credential && !s.trust.device && !s.trust.source,
		Worked:      s.match.latest, Former: s.match.former, Overused: k.overused,
		Compared: s.shown && s.trust.secrets,
	}
	if s.shown {
		t.Credential = binary.BigEndian.Uint64(k.attempt.Credential[:])
	}
	return t
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
	if !k.subject.paysAlways() {
		k.charged, k.lookPaid = ticks(e.denials) > now, ticks(e.looks) > now
	}
	return ticks(e.connects) > now && (!k.subject.match.known || e.starved == deniedMatch)
}

// applyDenialRules sets the verdict and the priority by each bucket of denials that applies to the attempt. If hold is
// set, it takes holds of denials, and of looks where the attempt may need one. If the table is full, the network decides
// instead of a bucket without an entry.
func (k *Ticket) applyDenialRules(now ticks, r *rules, hold bool) {
	again, tableFull := RuleNone, false
	apply := func(kd kind) {
		if r.denials[kd].off() {
			return
		}
		e, mu := k.entry(now, kd, r, hold)
		if e == nil {
			tableFull = tableFull || hold && (!k.inspected || k.limiter.table.isFull(k.tableMax(kd, r)))
			return
		}
		defer mu.Unlock()
		v := k.applyDenialRule(now, r, e, hold)
		if v.Again && again == RuleNone {
			again = v.Rule
		}
		k.verdict = stricter(k.verdict, v)
	}
	for _, kd := range [...]kind{kindSource, kindNetwork, kindPrefix, kindWidePrefix, kindPair, kindAccount} {
		if k.subject.applies(kd) {
			apply(kd)
		}
	}
	if tableFull {
		if !k.inspected {
			k.limiter.shared.Add(1)
		}
		k.lookDue = k.deadline + 1 // what cannot be counted must not be looked at
		if !k.subject.applies(kindNetwork) {
			apply(kindNetwork)
		}
	}
	if again != RuleNone && k.verdict.Action != Refuse {
		k.verdict = Verdict{Action: Wait, Rule: again, Wait: lineDelay, Again: true}
	}
}

// applyDenialRule returns the verdict of e, which is locked.
func (k *Ticket) applyDenialRule(now ticks, r *rules, e *entry, reserve bool) Verdict {
	own := k.limiter.own(now, e, r)
	v := r.verdict(now, e, &k.subject, own)
	if v.Again && now.add(v.Wait) > k.deadline {
		v = refusal(v.Rule)
	}
	k.subject.denied = k.subject.denied || e.denied(now)
	if !k.priority.Known() {
		k.priority.class = r.priorityClass(now, e, &k.subject, k.priority.class)
	}
	if !reserve {
		return v
	}
	h := hold{key: e.key, kind: e.kind, denial: v.Action != Refuse && !v.Again, look: k.mayHoldLook(now, r, e, own, v)}
	if k.inspected || !h.denial && !h.look {
		return v
	}
	if h.denial {
		e.holds++
	}
	if h.look {
		e.lookHolds++
	}
	k.holds[k.held] = h
	k.held++
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
	case k.inspected:
		e, mu := l.table.find(key)
		if e == nil && kd == kindNetwork && l.table.isFull(r.TableMax) {
			return l.table.findSharedByFamily(k.subject.network.Addr())
		}
		return e, mu
	case kd == kindNetwork:
		return l.networkEntry(now, key, k.subject.network, r)
	}
	return l.table.findOrAdd(now, key, kd, k.tableMax(kd, r))
}

// tableMax returns how many entries the table may have when the attempt adds one of kind kd: strangers who fill it must
// not take the entries from those who are near, nor those that protect known accounts.
func (k *Ticket) tableMax(kd kind, r *rules) int {
	return r.tableMax(kd, k.subject.trust.near(), k.subject.trust.secrets)
}

// tableMax is that of an attempt that is near, on an account of which some credential is known.
func (r *rules) tableMax(kd kind, near, secrets bool) int {
	switch {
	case kd == kindAccount && secrets: // of these there are at most TableMax
		return 2 * r.TableMax
	case near:
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
	switch {
	case k.subject.blocked:
		return refusal(RuleBlocked)
	case k.subject.trust.secrets:
		return pass
	}
	for _, kd := range [...]kind{kindPair, kindAccount} {
		if r.denials[kd].off() || !k.subject.applies(kd) {
			continue
		}
		if e, mu := k.entry(now, kd, r, false); e != nil {
			v := r.verdict(now, e, &k.subject, l.own(now, e, r))
			mu.Unlock()
			if v.Action == Refuse {
				return v
			}
		}
	}
	return pass
}
