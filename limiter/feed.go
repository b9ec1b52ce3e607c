package limiter

import (
	"encoding/binary"
	"slices"
	"sync"
)

// feedMax is how many octets of events a [Feed] keeps: those of about a million.
const feedMax = 32 << 20

// A Feed records what happens in a [Limiter], for one sibling. It is safe for concurrent use.
type Feed struct {
	limiter *Limiter
	ready   chan struct{}

	mu         sync.Mutex
	events     []byte
	overflowed bool
}

// Feed starts to record events, for a sibling that knows all of l but what l has open now: the process that l has
// imported from. For a process that imports from l, [Limiter.Export] returns a Feed. Each operation of l, except those of
// [Limiter.Apply], is recorded until the Feed is closed.
func (l *Limiter) Feed() *Feed {
	l.cut.Lock()
	defer l.cut.Unlock()
	return l.addFeed()
}

// addFeed is Feed when no operation is under way.
func (l *Limiter) addFeed() *Feed {
	f := &Feed{limiter: l, ready: make(chan struct{}, 1)}
	l.feeds = append(l.feeds, f)
	l.setIndebted()
	return f
}

// publish records e in all feeds. The caller holds l.cut, and calls it only if there is a feed.
func (l *Limiter) publish(e *event) {
	var space [eventMax]byte
	b := e.appendTo(space[:0])
	for _, f := range l.feeds {
		f.add(b)
	}
}

// add records the encoded events b.
func (f *Feed) add(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.overflowed = f.overflowed || len(f.events)+len(b) > feedMax; f.overflowed {
		f.events = nil
	} else {
		f.events = append(f.events, b...)
	}
	f.signal()
}

// signal lets Ready receive. A signal that is pending is enough.
func (f *Feed) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// Ready returns a channel that receives a value when there are events to take, or f has overflowed.
func (f *Feed) Ready() <-chan struct{} {
	return f.ready
}

// Take returns the events since the last call, encoded for [Limiter.Apply]: whole events of at most most octets
// together, but at least one event; nil if there is none. If it leaves some, Ready receives again.
func (f *Feed) Take(most int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < len(f.events) {
		length, size := binary.Uvarint(f.events[n:])
		if n > 0 && n+size+int(length) > most {
			break
		}
		n += size + int(length)
	}
	if n == 0 {
		return nil
	}
	taken := f.events[:n:n]
	if f.events = f.events[n:]; len(f.events) == 0 {
		f.events = nil
		return taken
	}
	f.signal()
	return taken
}

// Overflowed reports whether f has lost events, because more than 32 MB were not taken. It records no more. Close it, and
// let the sibling forget this process, see [Limiter.Forget].
func (f *Feed) Overflowed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overflowed
}

// Close ends the recording. Events that were not taken are lost. Closing it again does nothing.
func (f *Feed) Close() {
	l := f.limiter
	l.cut.Lock()
	defer l.cut.Unlock()
	if l.feeds = slices.DeleteFunc(l.feeds, func(other *Feed) bool { return other == f }); len(l.feeds) == 0 {
		l.feeds = nil
	}
	l.setIndebted()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
}
