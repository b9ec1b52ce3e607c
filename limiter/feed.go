package limiter

import (
	"encoding/binary"
	"slices"
	"sync"
)

// feedMax is how many octets of events a [Feed] keeps: those of about a million.
const feedMax = 32 << 20

// sharedFeedMax is how many octets of events a [Feed] for gateways keeps: those of about 50,000.
const sharedFeedMax = 4 << 20

// A Feed records what happens in a [Limiter], for one sibling or for other gateways. It is safe for concurrent use.
type Feed struct {
	limiter  *Limiter
	ready    chan struct{}
	ops      opSet // it records only these
	gateways bool  // it is for gateways

	mu         sync.Mutex
	events     []byte
	overflowed bool
}

// Feed starts to record events, for a sibling that knows all of l but what l has open now: the process that l has
// imported from. For a process that imports from l, [Limiter.Export] returns a Feed. Each operation of l, except those of
// [Limiter.Apply], is recorded until the Feed is closed: those of [Limiter.ApplyShared] and [Limiter.MergeShared] as well.
func (l *Limiter) Feed() *Feed {
	l.cut.Lock()
	defer l.cut.Unlock()
	return l.addFeed(allOps, false)
}

// addFeed is Feed when no operation is under way, for the given operations.
func (l *Limiter) addFeed(ops opSet, gateways bool) *Feed {
	f := &Feed{limiter: l, ready: make(chan struct{}, 1), ops: ops, gateways: gateways}
	l.setFeeds(append(slices.Clone(l.feeds), f))
	return f
}

// setFeeds replaces the feeds. No operation is under way.
func (l *Limiter) setFeeds(all []*Feed) {
	if l.feeds = all; len(all) == 0 {
		l.feeds = nil
	}
	l.wanted, l.sharesDenials = 0, false
	for _, f := range l.feeds {
		l.wanted |= f.ops
		l.sharesDenials = l.sharesDenials || f.gateways && f.ops == sharedDenials
	}
	l.setIndebted()
}

// endShared ends the recording of feeds for gateways. No operation is under way. What they have recorded can still be
// taken.
func (l *Limiter) endShared() {
	l.setFeeds(slices.DeleteFunc(slices.Clone(l.feeds), func(f *Feed) bool { return f.gateways }))
}

// wants reports whether some feed records operations of this sort. The caller holds l.cut.
func (l *Limiter) wants(o op) bool {
	return l.wanted&(1<<o) != 0
}

// publish records e, an operation of l, in all feeds that are for it. The caller holds l.cut, and calls it only if there is
// such a feed.
func (l *Limiter) publish(e *event) {
	l.publishTo(e, false)
	l.publishTo(e, true)
}

// publishTo records e in the feeds for gateways, or in those for siblings.
func (l *Limiter) publishTo(e *event, gateways bool) {
	var space [eventMax]byte
	var b []byte
	for _, f := range l.feeds {
		if f.gateways != gateways || f.ops&(1<<e.op) == 0 {
			continue
		}
		if b == nil {
			if b = e.encoded(space[:0], gateways); b == nil {
				return
			}
		}
		f.add(b)
	}
}

// encoded appends e as gateways or siblings must know it. It returns nil if they need not.
func (e *event) encoded(b []byte, gateways bool) []byte {
	if !gateways {
		return e.appendTo(b)
	}
	flags, ok := e.sharedFlags()
	if !ok {
		return nil
	}
	former := e.flags
	e.flags = flags
	b = e.appendTo(b)
	e.flags = former
	return b
}

// add records the encoded events b.
func (f *Feed) add(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := feedMax
	if f.gateways {
		most = sharedFeedMax
	}
	full := len(f.events)+len(b) > most
	f.overflowed = f.overflowed || full
	if full || f.overflowed && !f.gateways {
		f.events = nil
	}
	if !f.overflowed || f.gateways {
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
// let the sibling forget this process, see [Limiter.Forget]. A Feed for gateways loses those it has if more than 4 MB were
// not taken, and records what comes later: gateways that read a snapshot then know what it has lost.
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
	l.setFeeds(slices.DeleteFunc(slices.Clone(l.feeds), func(other *Feed) bool { return other == f }))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
}
