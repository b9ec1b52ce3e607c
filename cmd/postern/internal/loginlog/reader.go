package loginlog

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// Options is what a Reader needs beside the names of files.
type Options struct {
	Stdin    io.Reader      // for the name Stdin
	Location *time.Location // of times in logs that have no zone; nil is UTC
	Now      time.Time
}

// A Reader returns the events of several files by time. Lines that are out of order within a file by less than
// disorderMost events are put into order. At any time it has open only the files that overlap.
type Reader struct {
	options Options
	waiting []*queued // files not open, by the time of their first event
	open    sources   // a heap by the time of the next event
	stats   Stats
	read    atomic.Int64
	total   int64
}

// A queued file is not open yet, except for standard input.
type queued struct {
	name  string
	info  os.FileInfo // nil for standard input
	first time.Time   // of its events; zero if it has none
	stdin *source
}

// disorderMost is how many events of a file are put into order.
const disorderMost = 256

// disorderTime is how much earlier than its first event a file may have others.
const disorderTime = time.Hour

// Open returns a Reader of these files, of which it reads the first event each. The error names the file.
func Open(files []string, o Options) (*Reader, error) {
	if o.Location == nil {
		o.Location = time.UTC
	}
	r := &Reader{options: o}
	for _, name := range files {
		if err := r.enqueue(name); err != nil {
			r.Close()
			return nil, err
		}
	}
	slices.SortStableFunc(r.waiting, func(a, b *queued) int {
		return cmp.Or(a.first.Compare(b.first), cmp.Compare(a.name, b.name))
	})
	return r, nil
}

// enqueue finds the first event of a file.
func (r *Reader) enqueue(name string) error {
	info, _ := os.Stat(name) // an error comes again with openSource
	for _, q := range r.waiting {
		switch {
		case q.name == name:
			return fmt.Errorf("%s: given twice", name)
		case q.info != nil && info != nil && os.SameFile(q.info, info):
			return fmt.Errorf("%s: given twice, also as %s", name, q.name)
		}
	}
	if name == Stdin {
		s, err := openSource(name, &r.options, &r.read)
		if err != nil {
			return err
		}
		s.stats = &r.stats
		err = s.fill()
		q := &queued{name: name, stdin: s}
		if len(s.pending) > 0 {
			q.first = s.pending[0].At
		}
		r.waiting = append(r.waiting, q)
		return err
	}
	var peeked atomic.Int64
	s, err := openSource(name, &r.options, &peeked)
	if err != nil {
		return err
	}
	defer s.close()
	if info != nil {
		r.total += info.Size()
	}
	e, err := s.read()
	if err != nil && err != io.EOF {
		return err
	}
	r.waiting = append(r.waiting, &queued{name: name, info: info, first: e.At})
	return nil
}

// Next returns the next event, or io.EOF after the last. Other errors name the file and the line.
func (r *Reader) Next() (Event, error) {
	for len(r.waiting) > 0 && (len(r.open) == 0 || !r.open[0].next().At.Before(r.waiting[0].first.Add(-disorderTime))) {
		q := r.waiting[0]
		r.waiting = r.waiting[1:]
		if err := r.start(q); err != nil {
			return Event{}, err
		}
	}
	if len(r.open) == 0 {
		return Event{}, io.EOF
	}
	s := r.open[0]
	e, err := s.take()
	if err != nil {
		return Event{}, err
	}
	if len(s.pending) > 0 {
		heap.Fix(&r.open, 0)
		return e, nil
	}
	heap.Pop(&r.open)
	s.close()
	return e, nil
}

// start opens a file and adds it to those that are open, if it has any events.
func (r *Reader) start(q *queued) error {
	s := q.stdin
	if s == nil {
		var err error
		if s, err = openSource(q.name, &r.options, &r.read); err != nil {
			return err
		}
		s.stats = &r.stats
		if err := s.fill(); err != nil {
			s.close()
			return err
		}
	}
	if len(s.pending) == 0 {
		s.close()
		return nil
	}
	heap.Push(&r.open, s)
	return nil
}

// Close closes all files.
func (r *Reader) Close() {
	for _, s := range r.open {
		s.close()
	}
	for _, q := range r.waiting {
		if q.stdin != nil {
			q.stdin.close()
		}
	}
	r.open, r.waiting = nil, nil
}

// Progress returns how many octets of the files were read, and their size; that is 0 for standard input.
func (r *Reader) Progress() (read, total int64) { return r.read.Load(), r.total }

// Stats returns the counts so far.
func (r *Reader) Stats() Stats { return r.stats }

// fill reads events until disorderMost are pending, or the file ends.
func (s *source) fill() error {
	for len(s.pending) < disorderMost && s.err == nil {
		e, err := s.read()
		if err != nil {
			s.err = err
			break
		}
		heap.Push(&s.pending, pendingEvent{e, s.number})
	}
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// next returns the event that take would return.
func (s *source) next() *Event { return &s.pending[0].Event }

// take returns the earliest of the pending events. There must be one.
func (s *source) take() (Event, error) {
	e := s.pending[0].Event
	if s.err == nil {
		next, err := s.read()
		if err == nil {
			s.pending[0] = pendingEvent{next, s.number}
			heap.Fix(&s.pending, 0)
			return e, nil
		}
		if s.err = err; err != io.EOF {
			return Event{}, err
		}
	}
	heap.Pop(&s.pending)
	return e, nil
}

// A pendingEvent is an event with the number of its line, which decides between equal times.
type pendingEvent struct {
	Event
	line int
}

// pendingEvents are a heap by time.
type pendingEvents []pendingEvent

func (h pendingEvents) Len() int { return len(h) }
func (h pendingEvents) Less(i, j int) bool {
	return h[i].At.Before(h[j].At) || h[i].line < h[j].line && h[i].At.Equal(h[j].At)
}
func (h pendingEvents) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *pendingEvents) Push(e any)   { *h = append(*h, e.(pendingEvent)) }
func (h *pendingEvents) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// sources are a heap by the time of the next event.
type sources []*source

func (h sources) Len() int           { return len(h) }
func (h sources) Less(i, j int) bool { return h[i].next().At.Before(h[j].next().At) }
func (h sources) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(s any)        { *h = append(*h, s.(*source)) }
func (h *sources) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
