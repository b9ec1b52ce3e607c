package limiter

import "container/list"

// A class is how an attempt ranks where not all can be served.
type class uint8

const (
	priorityKnown class = iota // before everybody else
	returning                  // strangers who were turned away and have come again
	unpenalized                // strangers of whom nothing is known
	penalized                  // strangers from where denials came from, or who ask again and again
	classes
)

// An Order says who goes first where not all can: the known, then strangers, network by network in turn. Of eight
// strangers five are patient, two clean and one stained, as long as there are such. It is a ticket's, see
// [Ticket.Order]. The zero value is that of the known.
type Priority struct {
	class class
	flow  key // strangers of one line take one turn
}

// Known reports whether o goes before all strangers. Somebody known who has had more than a generous share does not.
func (o Priority) Known() bool {
	return o.class == priorityKnown
}

// A Queue holds who waits for one thing, in their order. The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	ranks [classes]classQueue[T]
	pops  uint // of strangers
	size  int
}

// rank is all of one class that wait.
type classQueue[T any] struct {
	order list.List // of *line[T], the next to go first
	flows map[key]*flow[T]
	size  int
}

// line is who waits of one line, the first to come first.
type flow[T any] struct {
	key     key
	entries list.List     // of *Place[T]
	element *list.Element // in turns
}

// A Place is a place in a [Queue].
type Entry[T any] struct {
	value   T
	element *list.Element // in its line; nil once it has left
	class   class
	flow    *flow[T]
}

// Len returns how many wait.
func (q *Queue[T]) Len() int {
	return q.size
}

// counts returns how many of them are known, and how many strangers.
func (q *Queue[T]) counts() (known, strangers int) {
	known = q.ranks[priorityKnown].size
	return known, q.size - known
}

// Push adds v behind those of its order.
func (q *Queue[T]) Push(o Priority, v T) *Entry[T] {
	r := &q.ranks[o.class]
	ln := r.flows[o.flow]
	if ln == nil {
		ln = &flow[T]{key: o.flow}
		ln.element = r.order.PushBack(ln)
		if r.flows == nil {
			r.flows = map[key]*flow[T]{}
		}
		r.flows[o.flow] = ln
	}
	p := &Entry[T]{value: v, class: o.class, flow: ln}
	p.element = ln.entries.PushBack(p)
	r.size++
	q.size++
	return p
}

// turns says which class goes first in each of eight turns of strangers. If nobody of it waits, the first that does.
var schedule = [...]class{returning, returning, unpenalized, returning, returning, unpenalized, returning, penalized}

// Pop takes out who goes first. ok is false if nobody waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.size == 0 {
		return v, false
	}
	c, _ := q.next()
	if c != priorityKnown {
		q.pops++
	}
	turn := q.ranks[c].order.Front()
	q.ranks[c].order.MoveToBack(turn)
	p := turn.Value.(*flow[T]).entries.Front().Value.(*Entry[T])
	q.Remove(p)
	return p.value, true
}

// next returns the class that goes next, and whether it is its turn: else those whose turn it is are not there.
// Somebody must wait.
func (q *Queue[T]) next() (c class, itsTurn bool) {
	if q.ranks[priorityKnown].size > 0 {
		return priorityKnown, true
	}
	if c = schedule[q.pops%uint(len(schedule))]; q.ranks[c].size > 0 {
		return c, true
	}
	for c = returning; q.ranks[c].size == 0; {
		c++
	}
	return c, false
}

// Remove takes p out, and reports whether it was still in the queue.
func (q *Queue[T]) Remove(p *Entry[T]) bool {
	if p.element == nil {
		return false
	}
	r := &q.ranks[p.class]
	if p.flow.entries.Remove(p.element); p.flow.entries.Len() == 0 {
		r.order.Remove(p.flow.element)
		delete(r.flows, p.flow.key)
	}
	p.element = nil
	r.size--
	q.size--
	return true
}

// clear reports whether nobody of class c waits, nor anybody before it.
func (q *Queue[T]) clear(c class) bool {
	for i := range c + 1 {
		if q.ranks[i].size > 0 {
			return false
		}
	}
	return true
}

// ahead returns how many will go before one of order o that comes now, if nobody comes after it.
func (q *Queue[T]) ahead(o Priority) int {
	r := &q.ranks[o.class]
	own := 0
	if ln := r.flows[o.flow]; ln != nil {
		own = ln.entries.Len()
	}
	peers := min(r.size, (own+1)*len(r.flows)) // of its class
	if o.Known() {
		return peers
	}
	var share [classes]int
	for _, c := range schedule {
		share[c]++
	}
	n := q.ranks[priorityKnown].size + peers
	for c := returning; c < classes; c++ {
		if c != o.class {
			n += min(q.ranks[c].size, (peers+1)*share[c]/share[o.class])
		}
	}
	return n
}
