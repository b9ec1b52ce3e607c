package limiter

import (
	"container/heap"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// globalQueue is the global bucket and the attempts that wait for its tokens. Strangers must leave the reserve in the
// bucket, so the known find a token at once, however many strangers there are; tokens above the reserve are for the
// first attempt that asks. So strangers borrow from a reserve that is not used, and the known get it back with the next
// token.
type globalQueue struct {
	mu        sync.Mutex
	bucket    globalBucket
	queue     Queue[*waiter]
	deadlines deadlines

	known, strangers uint64 // attempts that have asked for a token
}

// A waiter is a ticket in the queue.
type waiter struct {
	data     any
	known    bool
	deadline ticks
	entry    *Entry[*waiter]
	index    int  // in deadlines
	expired  bool // its deadline passed before it got a token
}

// Enter asks for a token of the global bucket, once the wait of the verdict is over. Pass means that the attempt has
// one and may go to a backend. Refuse means that it cannot get one within WaitMax of having asked. Wait means that the
// ticket queues, and estimates for how long; [Limiter.Dispatch] later returns data with the verdict, unless the ticket
// is settled first. data is any value by which the proxy finds the session. The verdict of the ticket becomes the
// stricter of what it was and what Enter returns. A repeat, and a ticket that was refused, needs no token: Enter
// returns its verdict and changes nothing.
func (k *Ticket) Enter(t time.Time, data any) Verdict {
	if k.verdict.Action >= Repeat {
		return k.verdict
	}
	l := k.limiter
	now, r := l.epoch.ticks(t), l.rules.Load()
	if r.global.off() && !k.subject.onlyAllowed() {
		return pass
	}
	l.cut.RLock()
	defer l.cut.RUnlock()
	if k.demote(now, r); r.global.off() {
		return pass
	}
	v := l.globalQueue.enter(now, k, mustLeave(k.priority.class, l.reserve(t, r), r), &r.global, data)
	v.Known, v.Near = k.verdict.Known, k.verdict.Near
	k.verdict = stricter(k.verdict, v)
	if v.Action == Pass && l.wants(opGlobal) {
		l.publish(&event{op: opGlobal})
	}
	return v
}

// enter is Enter for a ticket that must leave keep tokens.
func (q *globalQueue) enter(now ticks, k *Ticket, keep int, r *limit, data any) Verdict {
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.bucket.clamp(now)
	if k.verdict.Known {
		q.known++
	} else {
		q.strangers++
	}
	if q.queue.noneBefore(k.priority.class) && q.bucket.spend(now, keep) {
		return pass
	}
	wait := q.bucket.due(now, keep) + time.Duration(q.queue.ahead(k.priority))*r.token
	if k.starved = wait > now.until(k.deadline); k.starved {
		return refusal(RuleGlobal)
	}
	k.waiter = &waiter{data: data, known: k.verdict.Known, deadline: k.deadline}
	k.waiter.entry = q.queue.Push(k.priority, k.waiter)
	heap.Push(&q.deadlines, k.waiter)
	return waiting(RuleGlobal, max(wait, 1))
}

// Dispatched is the verdict on a ticket that queued.
type Dispatched struct {
	Waiter  any     // the data given to [Ticket.Enter]
	Verdict Verdict // pass: its token is spent and it may go to a backend now; refuse: it got no token in time
}

// Dispatch returns the tickets in the queue that are decided by time t: they got a token, or their deadline has passed.
// next is when to call it again, or the zero Time if the queue is empty. A ticket that queues meanwhile may make it
// earlier, so call Dispatch again when [Ticket.Enter] returns Wait.
func (l *Limiter) Dispatch(t time.Time) (decided []Dispatched, next time.Time) {
	asked, r := l.epoch.ticks(t), l.rules.Load()
	reserve := l.reserve(t, r)
	l.cut.RLock()
	defer l.cut.RUnlock()
	q := &l.globalQueue
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.bucket.clamp(asked)
	for q.queue.Len() > 0 && (r.global.off() || q.bucket.spend(now, q.keepOfNext(reserve, r))) {
		w, _ := q.queue.Pop()
		heap.Remove(&q.deadlines, w.index)
		decided = append(decided, w.dispatched(pass))
		if !r.global.off() && l.wants(opGlobal) {
			l.publish(&event{op: opGlobal})
		}
	}
	for len(q.deadlines) > 0 && q.deadlines[0].deadline <= now {
		w := q.deadlines[0]
		q.remove(w)
		w.expired = true
		decided = append(decided, w.dispatched(refusal(RuleGlobal)))
	}
	if q.queue.Len() == 0 {
		return decided, time.Time{}
	}
	wait := min(q.bucket.due(now, q.keepOfNext(reserve, r)), now.until(q.deadlines[0].deadline))
	return decided, t.Add(asked.until(now) + wait)
}

// keepOfNext returns how many tokens the first ticket in the queue must leave. The queue must not be empty.
func (q *globalQueue) keepOfNext(reserve int, r *rules) int {
	c, scheduled := q.queue.next()
	if known, _ := q.queue.counts(); known > 0 { // for none of them there is a token above those reserved
		return 0
	}
	if c == classPenalized && scheduled { // the schedule gives it this pop, so it needs no margin
		c = classUnpenalized
	}
	return mustLeave(c, reserve, r)
}

// spendOfSibling takes a token that a sibling has taken. If none is left, it takes one of those to come, up to as many as
// the bucket has.
func (q *globalQueue) spendOfSibling(now ticks, r *rules) {
	if r.global.off() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bucket.left(now) >= 1-float64(r.global.tokens) {
		q.bucket.limiter.ReserveN(q.bucket.clamp(now).time(), 1)
	}
}

// leave removes w from the queue if it is still there, and reports whether its deadline passed there.
func (q *globalQueue) leave(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(w)
	return w.expired
}

// remove removes w from the queue if it is still there. q must be locked.
func (q *globalQueue) remove(w *waiter) {
	if q.queue.Remove(w.entry) {
		heap.Remove(&q.deadlines, w.index)
	}
}

func (w *waiter) dispatched(v Verdict) Dispatched {
	v.Known = w.known
	return Dispatched{w.data, v}
}

// deadlines is a heap of the queued tickets, the earliest deadline first.
type deadlines []*waiter

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline < d[j].deadline }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push is for package heap.
func (d *deadlines) Push(w any) {
	w.(*waiter).index = len(*d)
	*d = append(*d, w.(*waiter))
}

// Pop is for package heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	w := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return w
}

// A globalBucket is the bucket of the rule global. There is only one, and it needs no holds, so a rate.Limiter does.
// Until setLimit is called with a limit that is not off, no other method may be. It is not safe for concurrent use.
type globalBucket struct {
	limiter *rate.Limiter
	token   time.Duration // the time in which one token refills
	latest  ticks         // of all uses
}

// setLimit changes the limit. As other buckets do, b keeps the time it needs to refill, at most that of an empty bucket
// under r. A limit that is off changes nothing.
func (b *globalBucket) setLimit(now ticks, r *limit) {
	if r.off() {
		return
	}
	former, refill := b.limiter, time.Duration(0)
	if now = b.clamp(now); former != nil {
		refill = b.due(now, former.Burst()-1)
	}
	b.setMissing(now, refill, r)
}

// setPart changes the limit to another part of the same whole. The tokens that are left remain, as far as r has so many: a
// part that becomes smaller and larger again must not gain any.
func (b *globalBucket) setPart(now ticks, r *limit) {
	if r.off() {
		return
	}
	at := b.clamp(now).time()
	b.token = r.token
	b.limiter.SetLimitAt(at, rate.Every(r.token))
	b.limiter.SetBurstAt(at, r.tokens)
}

// setMissing makes b a bucket of limit r that is full in the time refill, or in that of an empty bucket.
func (b *globalBucket) setMissing(now ticks, refill time.Duration, r *limit) {
	now, refill = b.clamp(now), min(refill, r.span())
	b.token, b.limiter = r.token, rate.NewLimiter(rate.Every(r.token), r.tokens)
	if refill > 0 { // SetLimitAt and SetBurstAt would keep the tokens and not the time
		b.limiter.AllowN(now.add(refill-r.span()).time(), r.tokens)
	}
}

// clamp returns now, or the latest time of an earlier use if that is later: a rate.Limiter that is used at an earlier
// time refills the time since then twice.
func (b *globalBucket) clamp(now ticks) ticks {
	b.latest = max(b.latest, now)
	return b.latest
}

// due returns the time until b has one token beside keep others, zero if it has. It is rounded to a nanosecond, because
// TokensAt is not exact.
func (b *globalBucket) due(now ticks, keep int) time.Duration {
	missing := float64(1+keep) - b.left(now)
	return time.Duration(math.Round(max(missing, 0) * float64(b.token)))
}

// spend takes a token if b has keep others, and reports whether it did.
func (b *globalBucket) spend(now ticks, keep int) bool {
	if keep > 0 && b.due(now, keep) > 0 {
		return false
	}
	return b.limiter.AllowN(b.clamp(now).time(), 1)
}

// left returns how many tokens are not spent, with fractions.
func (b *globalBucket) left(now ticks) float64 {
	return b.limiter.TokensAt(b.clamp(now).time())
}

// reserve returns how many tokens strangers must leave at time t.
func (l *Limiter) reserve(t time.Time, r *rules) int {
	if !l.known.learned(t) {
		return 0
	}
	return r.reserve
}

// margin returns how many tokens beside the reserve penalized strangers must leave, so that one without a penalty
// usually need not wait.
func margin(r *rules, reserve int) int {
	return (r.global.tokens - reserve) / 4
}

// mustLeave returns how many tokens an attempt of class c must leave.
func mustLeave(c class, reserve int, r *rules) int {
	switch c {
	case classKnown:
		return 0
	case classPenalized:
		return reserve + margin(r, reserve)
	}
	return reserve
}

// awayLogins is how many logins an account seems to have made more, lately, if it logs in from a new place. So users at
// their usual places go first when many stolen accounts are used for the first time.
const awayLogins = 2

// demote counts the login of a known attempt. It gives it the priority of a stranger if its account, or its source or
// device on that account, has used its share of the reserved lane.
//
// An attempt that is near and shows no known credential may be a neighbour's who guesses. It counts for its source or
// device alone, until it is accepted: a neighbour must not use up the share of the owner.
func (k *Ticket) demote(now ticks, r *rules) {
	s := &k.subject
	if s.onlyAllowed() {
		k.demoteAllowed(now, r)
		return
	}
	if !k.priority.Known() {
		return
	}
	e, mu := k.limiter.table.findOrAdd(now, s.keys[kindUse], kindUse, k.tableMax(kindUse, r))
	used := 0
	if e != nil {
		defer mu.Unlock()
		used = e.denials.spent(now, &r.pairUse)
	}
	usage, left := 0., used < r.pairUse.tokens
	flags := eventFlags(0)
	if k.counted = s.trust.credential; k.counted {
		usage, left = k.limiter.known.countLogin(now, s.keys[kindAccount], &r.accountUse, left)
		if flags = wasCounted; left {
			flags |= spentUse
		}
	} else {
		usage = addUsage(k.limiter.known.usage(s.keys[kindAccount]), now, float64(awayLogins+used))
	}
	if left && e != nil {
		e.denials.spend(now, &r.pairUse)
		flags |= spentDenial
	}
	k.publishUse(flags)
	if k.overused = !left; k.overused {
		k.priority = Priority{class: classUnpenalized, flow: s.keys[kindAccount]}
		return
	}
	if !s.trust.near() {
		usage = addUsage(usage, now, awayLogins)
	}
	k.priority.usage = usage
}

// demoteAllowed counts the login of an attempt that is not known, from an allowed network. It gives it the priority of a
// stranger if the network has used its share of the reserved lane, or cannot be counted: a client that guesses there must
// not use up the lane. All strangers of the network are one flow then.
func (k *Ticket) demoteAllowed(now ticks, r *rules) {
	s := &k.subject
	use := k.limiter.hasher.block(kindUse, s.allowed)
	e, mu := k.limiter.table.findOrAdd(now, use, kindUse, r.tableMax(kindUse, true, false))
	used := r.allowedUse.tokens
	if e != nil {
		defer mu.Unlock()
		used = e.denials.spent(now, &r.allowedUse)
	}
	if used >= r.allowedUse.tokens {
		k.priority = s.strangerPriority(use)
		return
	}
	e.denials.spend(now, &r.allowedUse)
	k.priority.usage = addUsage(0, now, float64(awayLogins+used))
	if k.limiter.wants(opUsed) {
		k.limiter.publish(&event{op: opUsed, kind: kindUse, key: use, flags: spentDenial | ofAllowed | isNear})
	}
}
