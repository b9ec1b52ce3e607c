package limiter

import "time"

// A Sharing says how a gateway counts together with others, each of which has its own [Limiter]. The zero value is that
// of a gateway that is alone in its site.
type Sharing struct {
	Gateways int     // how many count together, this one included; 0 and 1: none other
	Alone    bool    // the others cannot be reached now: strangers get the part of this gateway of each bucket
	Global   float64 // the part of the global bucket that this gateway may use, above 0 to 1; other values mean 1
}

// SetSharing replaces the sharing of l at time t. It remains when the policy changes. What is spent remains spent. It is
// cheap while Gateways and Alone stay the same, so Global may change every second.
//
// Unset Alone once the own denials of that time have come back from the others and theirs are applied: until then l
// does not count what they spent.
func (l *Limiter) SetSharing(t time.Time, s Sharing) {}

// ShareFeeds starts to record what other gateways must know: operations of l and of its siblings, but not what other
// gateways did ([Limiter.ApplyShared], [Limiter.MergeShared]). The first Feed has denials and all that is spent, the other
// what changes the known table. A Feed that is not taken from in time loses events, and continues with later ones.
// [Limiter.Export] ends the recording: the process that takes over gets these operations from its siblings, and records
// them itself. Both feeds must be closed.
func (l *Limiter) ShareFeeds() (denials, known *Feed) {
	return l.Feed(), l.Feed()
}

// ApplyShared does to l what another gateway did at time t, as one of its [Limiter.ShareFeeds] says. Events may be
// applied long after t and in any order, but each once. What they spend may take a bucket below zero. If the events are
// damaged, it returns an error and changes nothing. Events that this version does not know are skipped, so gateways may be
// upgraded one by one. The feeds for siblings record the events, those for gateways do not.
func (l *Limiter) ApplyShared(t time.Time, events []byte) error { return nil }

// Acknowledge records that events of this gateway have come back from the others: its denials among them are no longer
// unacknowledged. Unknown or damaged events are skipped.
func (l *Limiter) Acknowledge(events []byte) {}

// Buckets returns what is spent at time t in all buckets that gateways count together, for [Limiter.MergeBuckets]: denials
// and looks, penalties, repeats and sprayed passwords. It has no checksum.
func (l *Limiter) Buckets(t time.Time) []byte { return nil }

// MergeBuckets adds what another gateway had spent at time t, as its [Limiter.Buckets] says: of each bucket the one of
// which more is spent remains. If the snapshot is damaged or of another version, it returns an error and changes nothing.
// No feed records it.
func (l *Limiter) MergeBuckets(t time.Time, snapshot []byte) error { return nil }

// MergeShared is [Limiter.Merge] of a snapshot that another gateway has made. Only the feeds for siblings record it.
func (l *Limiter) MergeShared(t time.Time, known []byte) error { return nil }

// Entered returns how many attempts have asked for a token of the global bucket since New: of the known, and of strangers.
func (l *Limiter) Entered() (known, strangers uint64) { return 0, 0 }
