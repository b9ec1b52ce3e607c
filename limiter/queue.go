package limiter

import "container/list"

// An Order says who goes first where not all can: the known, then strangers, network by network in turn. It is a
// ticket's, see [Ticket.Order].
type Order struct {
	known bool
	line  key // strangers of one line take one turn
}

// A Queue holds who waits for one thing, in their order. The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	known list.List // of *Place[T], the first to come first
	turns list.List // of *line[T], the next to go first
	lines map[key]*line[T]
	size  int
}

// line is the strangers of one network that wait, the first to come first.
type line[T any] struct {
	of     key
	places list.List     // of *Place[T]
	turn   *list.Element // in turns
}

// A Place is a place in a [Queue].
type Place[T any] struct {
	value   T
	element *list.Element // nil once it has left
	line    *line[T]      // nil for the known
}

// Len returns how many wait.
func (q *Queue[T]) Len() int {
	return q.size
}

// Push adds v behind those of its order.
func (q *Queue[T]) Push(o Order, v T) *Place[T] {
	p := &Place[T]{value: v}
	q.size++
	if o.known {
		p.element = q.known.PushBack(p)
		return p
	}
	p.line = q.lines[o.line]
	if p.line == nil {
		p.line = &line[T]{of: o.line}
		p.line.turn = q.turns.PushBack(p.line)
		if q.lines == nil {
			q.lines = map[key]*line[T]{}
		}
		q.lines[o.line] = p.line
	}
	p.element = p.line.places.PushBack(p)
	return p
}

// Pop takes out who goes first. ok is false if nobody waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	first := q.known.Front()
	if first == nil {
		turn := q.turns.Front()
		if turn == nil {
			return v, false
		}
		q.turns.MoveToBack(turn)
		first = turn.Value.(*line[T]).places.Front()
	}
	p := first.Value.(*Place[T])
	q.Remove(p)
	return p.value, true
}

// Remove takes p out, and reports whether it was still in the queue.
func (q *Queue[T]) Remove(p *Place[T]) bool {
	if p.element == nil {
		return false
	}
	q.size--
	if p.line == nil {
		q.known.Remove(p.element)
	} else if p.line.places.Remove(p.element); p.line.places.Len() == 0 {
		q.turns.Remove(p.line.turn)
		delete(q.lines, p.line.of)
	}
	p.element = nil
	return true
}
