package limiter

import "container/list"

// A class is how an attempt ranks where not all can be served.
type class uint8

const (
	ofKnown   class = iota // before everybody else
	ofPatient              // strangers who were turned away and have come again
	ofClean                // strangers of whom nothing is known
	ofStained              // strangers from where denials came from, or who ask again and again
	classes
)

// An Order says who goes first where not all can: the known, then strangers, network by network in turn. Of eight
// strangers five are patient, two clean and one stained, as long as there are such. It is a ticket's, see
// [Ticket.Order]. The zero value is that of the known.
type Order struct {
	class class
	line  key // strangers of one line take one turn
}

// Known reports whether o goes before all strangers. Somebody known who has had more than a generous share does not.
func (o Order) Known() bool {
	return o.class == ofKnown
}

// A Queue holds who waits for one thing, in their order. The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	ranks [classes]rank[T]
	pops  uint // of strangers
	size  int
}

// rank is all of one class that wait.
type rank[T any] struct {
	turns list.List // of *line[T], the next to go first
	lines map[key]*line[T]
	size  int
}

// line is who waits of one line, the first to come first.
type line[T any] struct {
	key    key
	places list.List     // of *Place[T]
	turn   *list.Element // in turns
}

// A Place is a place in a [Queue].
type Place[T any] struct {
	value   T
	element *list.Element // in its line; nil once it has left
	class   class
	line    *line[T]
}

// Len returns how many wait.
func (q *Queue[T]) Len() int {
	return q.size
}

// counts returns how many of them are known, and how many strangers.
func (q *Queue[T]) counts() (known, strangers int) {
	known = q.ranks[ofKnown].size
	return known, q.size - known
}

// Push adds v behind those of its order.
func (q *Queue[T]) Push(o Order, v T) *Place[T] {
	r := &q.ranks[o.class]
	ln := r.lines[o.line]
	if ln == nil {
		ln = &line[T]{key: o.line}
		ln.turn = r.turns.PushBack(ln)
		if r.lines == nil {
			r.lines = map[key]*line[T]{}
		}
		r.lines[o.line] = ln
	}
	p := &Place[T]{value: v, class: o.class, line: ln}
	p.element = ln.places.PushBack(p)
	r.size++
	q.size++
	return p
}

// turns says which class goes first in each of eight turns of strangers. If nobody of it waits, the first that does.
var turns = [...]class{ofPatient, ofPatient, ofClean, ofPatient, ofPatient, ofClean, ofPatient, ofStained}

// Pop takes out who goes first. ok is false if nobody waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.size == 0 {
		return v, false
	}
	c, _ := q.next()
	if c != ofKnown {
		q.pops++
	}
	turn := q.ranks[c].turns.Front()
	q.ranks[c].turns.MoveToBack(turn)
	p := turn.Value.(*line[T]).places.Front().Value.(*Place[T])
	q.Remove(p)
	return p.value, true
}

// next returns the class that goes next, and whether it is its turn: else those whose turn it is are not there.
// Somebody must wait.
func (q *Queue[T]) next() (c class, itsTurn bool) {
	if q.ranks[ofKnown].size > 0 {
		return ofKnown, true
	}
	if c = turns[q.pops%uint(len(turns))]; q.ranks[c].size > 0 {
		return c, true
	}
	for c = ofPatient; q.ranks[c].size == 0; {
		c++
	}
	return c, false
}

// Remove takes p out, and reports whether it was still in the queue.
func (q *Queue[T]) Remove(p *Place[T]) bool {
	if p.element == nil {
		return false
	}
	r := &q.ranks[p.class]
	if p.line.places.Remove(p.element); p.line.places.Len() == 0 {
		r.turns.Remove(p.line.turn)
		delete(r.lines, p.line.key)
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
func (q *Queue[T]) ahead(o Order) int {
	r := &q.ranks[o.class]
	own := 0
	if ln := r.lines[o.line]; ln != nil {
		own = ln.places.Len()
	}
	peers := min(r.size, (own+1)*len(r.lines)) // of its class
	if o.Known() {
		return peers
	}
	var share [classes]int
	for _, c := range turns {
		share[c]++
	}
	n := q.ranks[ofKnown].size + peers
	for c := ofPatient; c < classes; c++ {
		if c != o.class {
			n += min(q.ranks[c].size, (peers+1)*share[c]/share[o.class])
		}
	}
	return n
}
