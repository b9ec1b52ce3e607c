package limiter

import (
	"fmt"
	"time"
)

// A Sharing says how a gateway counts together with others, each of which has its own [Limiter]. The zero value is that
// of a gateway that is alone in its site.
type Sharing struct {
	Gateways int     // how many count together, this one included; 0 and 1: none other
	Alone    bool    // the others cannot be reached now: strangers get the part of this gateway of each bucket
	Global   float64 // the part of the global bucket that this gateway may use, above 0 to 1; other values mean 1
}

// minGlobal is the smallest part of the global bucket.
const minGlobal = 1. / 1024

// global returns the part of the global bucket.
func (s *Sharing) global() float64 {
	if s.Global > 0 && s.Global < 1 {
		return max(s.Global, minGlobal)
	}
	return 1
}

// SetSharing replaces the sharing of l at time t. It remains when the policy changes. What is spent remains spent. It costs
// little while Gateways and Alone stay the same, so Global may change every second.
//
// When the others can be reached again, unset Alone only once their denials of that time are applied and those of l have
// been acknowledged: until then, no gateway counts what the others have spent.
func (l *Limiter) SetSharing(t time.Time, s Sharing) {
	former, r := l.setRules(l.epoch.ticks(t), func(former *rules) *rules { return former.rules(s) })
	if former.alone != r.alone || r.gateways == 1 && former.gateways > 1 {
		l.table.forgetOwn()
	}
}

// ShareFeeds starts to record what other gateways must know: operations of l and of its siblings, but not what other
// gateways did ([Limiter.ApplyShared], [Limiter.MergeShared]). The first Feed has denials and all that is spent, the other
// what changes the known table. A Feed that is not taken from in time loses events, see [Feed.Overflowed]. [Limiter.Export]
// ends the recording: the process that takes over gets these operations from its sibling, and records them itself. Both
// feeds must be closed.
func (l *Limiter) ShareFeeds() (denials, known *Feed) {
	l.cut.Lock()
	defer l.cut.Unlock()
	return l.addFeed(sharedDenials, true), l.addFeed(sharedKnown, true)
}

// ApplyShared does to l what another gateway did at time t, as one of its [Limiter.ShareFeeds] says. Events may be
// applied long after t and in any order, but each once. What they spend may take a bucket below zero. If the events are
// damaged, it returns an error and changes nothing. Events that this version does not know are skipped, so gateways may be
// upgraded one by one. The feeds for siblings record the events, those for gateways do not.
func (l *Limiter) ApplyShared(t time.Time, events []byte) error {
	if err := eachSharedEvent(events, func(*event) {}); err != nil {
		return fmt.Errorf("applying events of another gateway: %w", err)
	}
	l.cut.RLock()
	defer l.cut.RUnlock()
	if l.retired {
		return nil
	}
	a := application{Limiter: l, t: t, now: l.epoch.ticks(t), rules: l.rules.Load()}
	a.debt = max(a.rules.debt(), 1)
	return eachSharedEvent(events, func(e *event) {
		var ok bool
		if e.flags, ok = e.sharedFlags(); !ok { // nothing else, whatever another version sends
			return
		}
		a.apply(e)
		if l.wants(e.op) {
			l.publishTo(e, false)
		}
	})
}

// Acknowledge records that events of this gateway were read back from the engine, so that the others count them: its
// denials among them are no longer unacknowledged. Unknown or damaged events are skipped.
func (l *Limiter) Acknowledge(events []byte) {
	l.cut.RLock()
	defer l.cut.RUnlock()
	r := l.rules.Load()
	if r.gateways == 1 || r.alone {
		return
	}
	_ = eachSharedEvent(events, func(e *event) { // what precedes the damage was read back
		f := e.flags
		if e.op == opSlot {
			f |= spentDenial
		}
		if (e.op != opSettled && e.op != opSlot) || e.kind == kindNetwork || f&onlyDelays != 0 || f&(spentDenial|spentLook) == 0 {
			return
		}
		s := l.table.shard(e.key)
		s.mu.Lock()
		defer s.mu.Unlock()
		l.table.addUnacknowledged(0, e.key, f, -1)
	})
}

// Entered returns how many attempts have asked for a token of the global bucket since New: of the known, and of
// strangers.
func (l *Limiter) Entered() (known, strangers uint64) {
	q := &l.globalQueue
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.known, q.strangers
}

// MergeShared is [Limiter.Merge] of a snapshot that another gateway has made. Accounts that operators had forgotten within
// the last ten minutes remain so. Of the feeds of l, only those for siblings record it.
func (l *Limiter) MergeShared(t time.Time, known []byte) error {
	return l.merge(t, known, true)
}
