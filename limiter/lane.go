package limiter

import (
	"container/heap"
	"sync"
	"time"
)

// lanes are the global bucket and who waits for its tokens. Strangers must leave the reserve in it, so the known find
// one at once however many strangers come; what comes back above the reserve goes to whoever asks. So a reserve that
// is not used is lent, and taken back with the next token.
type globalQueue struct {
	mu        sync.Mutex
	bucket    bucket
	queue     Queue[*waiter]
	deadlines deadlines
}

// A waiter is a ticket in the queue.
type waiter struct {
	who      any
	known    bool
	deadline ticks
	place    *Entry[*waiter]
	index    int  // in deadlines
	refused  bool // its time ran out
}

// reserve returns how many tokens strangers must leave at time t.
func (l *Limiter) reserve(t time.Time, r *rules) int {
	if !l.known.learned(t) {
		return 0
	}
	return r.reserve
}

// margin returns how many tokens beside the reserve those must leave who go behind other strangers: so one who comes
// from nowhere bad does not even wait.
func margin(r *rules, reserve int) int {
	return (r.global.tokens - reserve) / 4
}

// keep returns how many tokens an attempt of class c must leave.
func keep(c class, reserve int, r *rules) int {
	switch c {
	case priorityKnown:
		return 0
	case penalized:
		return reserve + margin(r, reserve)
	}
	return reserve
}

// Enter asks, once the wait of the verdict is over, for the attempt's turn to go to a backend. Pass says that it is now.
// Refuse says that it will not come before the ticket has waited for WaitMax in all. Wait says that the ticket queues,
// and for how long if all goes well; then [Limiter.Turn] will give who back when its fate is decided, unless the ticket
// is settled before. who is the caller's: whatever finds the session that waits. The verdict of the ticket becomes the
// stricter of what it was and what Enter returned. A repeat, and a ticket that was refused, needs no turn: it gets its
// verdict again, and takes nothing.
func (k *Ticket) Enter(t time.Time, who any) Verdict {
	if k.verdict.Action >= Repeat {
		return k.verdict
	}
	l := k.limiter
	now, r := l.origin.ticks(t), l.rules.Load()
	if r.global.off() {
		return pass
	}
	k.demote(now, r)
	v := l.globalQueue.enter(now, k, keep(k.priority.class, l.reserve(t, r), r), &r.global, who)
	v.Known, v.Near = k.verdict.Known, k.verdict.Near
	k.verdict = stricter(k.verdict, v)
	return v
}

// enter is Enter for a ticket that must leave keep tokens.
func (ln *globalQueue) enter(now ticks, k *Ticket, keep int, r *limit, who any) Verdict {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	wait := ln.bucket.due(now, r, keep)
	if wait <= 0 && ln.queue.clear(k.priority.class) {
		ln.bucket.spend(now, r)
		return pass
	}
	wait = max(wait, 0) + time.Duration(ln.queue.ahead(k.priority))*r.token
	if k.starved = wait > now.until(k.deadline); k.starved {
		return refusal(RuleGlobal)
	}
	k.waiter = &waiter{who: who, known: k.verdict.Known, deadline: k.deadline}
	k.waiter.place = ln.queue.Push(k.priority, k.waiter)
	heap.Push(&ln.deadlines, k.waiter)
	return waiting(RuleGlobal, max(wait, 1))
}

// demote makes a known attempt a stranger if its account, or its source there, has had its share of the reserved lane.
func (k *Ticket) demote(now ticks, r *rules) {
	s := &k.subject
	if !k.priority.Known() {
		return
	}
	e, mu := k.limiter.table.take(now, s.keys[ofUse], ofUse, r.TableMax)
	if e != nil {
		defer mu.Unlock()
	}
	if e != nil && e.denials.spent(now, &r.useOfPair) >= r.useOfPair.tokens || !k.limiter.known.spend(now, s.keys[ofAccount], &r.useOfAccount) {
		k.priority = Priority{class: unpenalized, flow: s.keys[ofAccount]}
		return
	}
	if e != nil {
		e.denials.spend(now, &r.useOfPair)
	}
}

// A Decision is the fate of a ticket that queued for its turn.
type Dispatched struct {
	Waiter  any     // as given to [Ticket.Enter]
	Verdict Verdict // Pass: it is its turn now, and its token is spent. Refuse: its turn did not come in time.
}

// Turn says whose turn has come by time t and whose time has run out. next is when to ask again, or the zero Time if
// nobody queues; a ticket that enters meanwhile may bring it forward, so ask again when [Ticket.Enter] says Wait.
func (l *Limiter) Dispatch(t time.Time) (decided []Dispatched, next time.Time) {
	now, r := l.origin.ticks(t), l.rules.Load()
	reserve := l.reserve(t, r)
	ln := &l.globalQueue
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for ln.queue.Len() > 0 && ln.wait(now, reserve, r) <= 0 {
		w, _ := ln.queue.Pop()
		heap.Remove(&ln.deadlines, w.index)
		if !r.global.off() {
			ln.bucket.spend(now, &r.global)
		}
		decided = append(decided, w.decided(pass))
	}
	for len(ln.deadlines) > 0 && ln.deadlines[0].deadline <= now {
		w := ln.deadlines[0]
		ln.remove(w)
		w.refused = true
		decided = append(decided, w.decided(refusal(RuleGlobal)))
	}
	if ln.queue.Len() == 0 {
		return decided, time.Time{}
	}
	wait := min(ln.wait(now, reserve, r), now.until(ln.deadlines[0].deadline))
	return decided, t.Add(wait)
}

// wait returns how long it is until the first in the queue has a token. Somebody must be in it.
func (ln *globalQueue) wait(now ticks, reserve int, r *rules) time.Duration {
	if r.global.off() {
		return 0
	}
	c, itsTurn := ln.queue.next()
	if c == penalized && itsTurn { // one in eight, whatever others need
		c = unpenalized
	}
	return ln.bucket.due(now, &r.global, keep(c, reserve, r))
}

// leave takes w out of the queue if it is still there, and reports whether its turn did not come in time.
func (ln *globalQueue) leave(w *waiter) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.remove(w)
	return w.refused
}

// remove is leave with ln locked.
func (ln *globalQueue) remove(w *waiter) {
	if ln.queue.Remove(w.place) {
		heap.Remove(&ln.deadlines, w.index)
	}
}

func (w *waiter) decided(v Verdict) Dispatched {
	v.Known = w.known
	return Dispatched{w.who, v}
}

// deadlines is a heap of who waits, by who must go first.
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
