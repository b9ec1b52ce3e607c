package limiter

import (
	"container/heap"
	"container/list"
	"time"
)

// A Queue holds values by priority. The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	known        knownQueue[T]
	classes      [classCount]classQueue[T] // of strangers
	knownPops    int                       // since the last pop of a stranger
	strangerPops uint
	size         int
	pushes       uint64
}

// knownQueue is a heap of the values of the known, that of the least usage first.
type knownQueue[T any] []*Entry[T]

func (q knownQueue[T]) Len() int { return len(q) }
func (q knownQueue[T]) Less(i, j int) bool {
	return q[i].usage < q[j].usage || q[i].usage == q[j].usage && q[i].number < q[j].number
}
func (q knownQueue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *knownQueue[T]) Push(e any) {
	e.(*Entry[T]).index = len(*q)
	*q = append(*q, e.(*Entry[T]))
}

// Pop is for package heap.
func (q *knownQueue[T]) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}

// classQueue holds the values of one class of strangers.
type classQueue[T any] struct {
	rotation list.List // of *flow[T], the next one first
	flows    map[key]*flow[T]
	size     int
}

// flow holds the values of one flow, the oldest first.
type flow[T any] struct {
	key     key
	entries list.List     // of *Entry[T]
	element *list.Element // in the rotation
}

// An Entry is a value in a [Queue].
type Entry[T any] struct {
	value   T
	class   class
	removed bool

	element *list.Element // of a stranger, in its flow
	flow    *flow[T]

	index  int // of the known, in their heap
	usage  float64
	number uint64 // the latest push has the greatest
}

// Len returns the number of values.
func (q *Queue[T]) Len() int {
	return q.size
}

// counts returns how many of them belong to the known, and how many to strangers.
func (q *Queue[T]) counts() (known, strangers int) {
	return len(q.known), q.size - len(q.known)
}

// Push adds v behind the values of the same class and flow, or of the known with no more usage.
func (q *Queue[T]) Push(p Priority, v T) *Entry[T] {
	q.size++
	q.pushes++
	if p.Known() {
		e := &Entry[T]{value: v, usage: p.usage, number: q.pushes}
		heap.Push(&q.known, e)
		return e
	}
	c := &q.classes[p.class]
	f := c.flows[p.flow]
	if f == nil {
		f = &flow[T]{key: p.flow}
		f.element = c.rotation.PushBack(f)
		if c.flows == nil {
			c.flows = map[key]*flow[T]{}
		}
		c.flows[p.flow] = f
	}
	e := &Entry[T]{value: v, class: p.class, flow: f}
	e.element = f.entries.PushBack(e)
	c.size++
	return e
}

// knownRun is how many of the known go first before a stranger has a pop, while both queue. More of the known come then
// than can be served, as when stolen accounts are used, and strangers must not wait for all of them.
const knownRun = 7

// schedule is which class goes first at each of ten pops of strangers. If that class is empty, the first class that
// is not takes its pop.
var schedule = [...]class{
	classReturning, classReturning, classUnpenalized, classReturning, classExchange,
	classReturning, classUnpenalized, classReturning, classPenalized, classExchange,
}

// Pop removes and returns the value that goes first. ok is false if q is empty.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.size == 0 {
		return v, false
	}
	c, _ := q.next()
	if c == classKnown {
		q.knownPops++
		e := q.known[0]
		q.Remove(e)
		return e.value, true
	}
	q.knownPops = 0
	q.strangerPops++
	first := q.classes[c].rotation.Front()
	q.classes[c].rotation.MoveToBack(first)
	e := first.Value.(*flow[T]).entries.Front().Value.(*Entry[T])
	q.Remove(e)
	return e.value, true
}

// next returns the class that goes next, and whether the schedule gives it this pop: otherwise it takes the pop of an
// empty class. q must not be empty.
func (q *Queue[T]) next() (c class, scheduled bool) {
	if len(q.known) > 0 && (q.knownPops < knownRun || len(q.known) == q.size) {
		return classKnown, true
	}
	if c = schedule[q.strangerPops%uint(len(schedule))]; q.classes[c].size > 0 {
		return c, true
	}
	for c = classReturning; q.classes[c].size == 0; {
		c++
	}
	return c, false
}

// Remove removes e, and reports whether it was still in q.
func (q *Queue[T]) Remove(e *Entry[T]) bool {
	if e.removed {
		return false
	}
	e.removed = true
	q.size--
	if e.class == classKnown {
		heap.Remove(&q.known, e.index)
		return true
	}
	c := &q.classes[e.class]
	if e.flow.entries.Remove(e.element); e.flow.entries.Len() == 0 {
		c.rotation.Remove(e.flow.element)
		delete(c.flows, e.flow.key)
	}
	c.size--
	return true
}

// noneBefore reports whether class c and all classes before it are empty.
func (q *Queue[T]) noneBefore(c class) bool {
	if len(q.known) > 0 {
		return false
	}
	for i := range c + 1 {
		if q.classes[i].size > 0 {
			return false
		}
	}
	return true
}

// ahead estimates how many values go before one of priority p that is added now, if none is added after it.
func (q *Queue[T]) ahead(p Priority) int {
	if p.Known() {
		n := 0
		for _, e := range q.known {
			if e.usage <= p.usage {
				n++
			}
		}
		return n + min(q.size-len(q.known), n/knownRun)
	}
	own := &q.classes[p.class]
	sameFlow := 0
	if f := own.flows[p.flow]; f != nil {
		sameFlow = f.entries.Len()
	}
	peers := min(own.size, (sameFlow+1)*len(own.flows))
	var share [classCount]int
	for _, c := range schedule {
		share[c]++
	}
	n := peers
	for c := classReturning; c < classCount; c++ {
		if c != p.class {
			n += min(q.classes[c].size, (peers+1)*share[c]/share[p.class])
		}
	}
	return n + min(len(q.known), (n+1)*knownRun)
}

// A class is a group of attempts of equal priority.
type class uint8

const (
	classKnown       class = iota // before all strangers
	classReturning                // strangers whose source was starved once or twice and tries again
	classUnpenalized              // strangers without a penalty
	classExchange                 // those of them who must answer a challenge and may keep the login slot meanwhile
	classPenalized                // strangers whose source or network has a penalty
	classCount
)

// A Priority decides which attempts are served first where not all can be. The known go first, except that one attempt in
// eight is a stranger's; among the known, those of the account that has logged in least lately. Strangers are served one
// from each network in rotation: of every ten, five are returning, two unpenalized, two in an exchange and one penalized,
// while attempts of each class queue. A ticket has one, see [Ticket.Priority]. The zero value is that of the known.
type Priority struct {
	class class
	usage float64 // of the account of a known attempt, see addUsage
	flow  key     // strangers of one flow are served in rotation with other flows
}

// Known reports whether p goes before all strangers. A known attempt beyond its share of the reserved lane does not.
func (p Priority) Known() bool {
	return p.class == classKnown
}

// String describes p for operators.
func (p Priority) String() string {
	return [...]string{"known", "returning stranger", "stranger", "stranger in an exchange", "penalized stranger"}[p.class]
}

// A penalty outlives the denials in the buckets. It has no effect while everybody can be served. When there are too
// many strangers, those from a source or network with denials, or that ask again and again, get the fewest tokens, and
// those that were starved once or twice and try again get the most: people and mail programs try again, attackers with
// many addresses do not.
const (
	deniedPenalty  = time.Hour        // the penalty of a source after a denial
	starvedPenalty = 15 * time.Minute // the penalty of a source after it was starved
	starvedLimit   = 3                // up to this many times starved, a source keeps its better priority

	networkDeniedPenalty  = 15 * time.Minute // added to the penalty of a network by each denial
	networkStarvedPenalty = 3 * time.Minute  // added by each starved attempt
	networkThreshold      = 40 * time.Minute // a network's penalty has an effect above this: from the third denial in an hour
	networkPenaltyMax     = 2 * time.Hour
)

// starvedDenied is the value of entry.starved for a source that was denied.
const starvedDenied = 255

// penalize adds a penalty to e for a denial, or for a starved attempt. Pairs and accounts get none: they do not say
// where an attempt comes from.
func (e *entry) penalize(now ticks, denied bool) {
	switch e.kind {
	case kindSource:
		e.penalizeSource(now, denied)
	case kindNetwork:
		by := networkStarvedPenalty
		if denied {
			by = networkDeniedPenalty
		}
		e.penaltyUntil = max(e.penaltyUntil, min(max(e.penaltyUntil, now).add(by), now.add(networkPenaltyMax)))
	}
}

func (e *entry) penalizeSource(now ticks, denied bool) {
	if e.penaltyUntil <= now {
		e.starved = 0
	}
	if denied {
		e.starved, e.penaltyUntil = starvedDenied, max(e.penaltyUntil, now.add(deniedPenalty))
		return
	}
	e.starved = max(e.starved, min(e.starved+1, starvedDenied-1))
	e.penaltyUntil = max(e.penaltyUntil, now.add(starvedPenalty))
}

// denied reports whether e has the penalty of denials.
func (e *entry) denied(now ticks) bool {
	switch e.kind {
	case kindSource:
		return e.penaltyUntil > now && e.starved == starvedDenied
	case kindNetwork:
		return now.until(e.penaltyUntil) > networkThreshold
	}
	return false
}

// manyPeople is the growth from which on an address is that of so many people that one denial, or one of them who tries
// again and again, says too little about the others. It has a penalty once a tenth of its tokens are spent.
const manyPeople = 4

// priorityClass returns the class of attempt s, a stranger of class c, after the penalty of e.
func (r *rules) priorityClass(now ticks, e *entry, s *subject, c class) class {
	if e.penaltyUntil <= now || c == classPenalized {
		return c
	}
	penalized := e.denied(now)
	if penalized && s.growth >= manyPeople {
		denials, looks := r.denialLimit(e.kind, s.growth), r.lookLimit(e.kind, s.growth)
		spent := max(e.denials.spent(now, &denials), e.looks.spent(now, &looks))
		if penalized = 10*spent >= denials.tokens; !penalized {
			return c
		}
	}
	switch {
	case penalized, e.kind == kindSource && e.starved != starvedDenied && int(e.starved) > starvedLimit*s.growth:
		return classPenalized
	case e.kind == kindSource && c == classUnpenalized:
		return classReturning
	}
	return c
}
