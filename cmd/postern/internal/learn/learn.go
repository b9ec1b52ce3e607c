// Package learn turns logins of the past into what a gateway knows: who has logged in from where, and how many logins
// and denials are usual at each time of the week.
//
// It replays the logins in the order of their times through a limiter and a watch of their own, whose snapshots a gateway
// merges with its own. The watch does not learn from what it takes for an attack, and neither does a limiter from what
// was denied, so an attack in a log is not learned as normal.
//
// Logs have neither credentials nor devices. So accounts are known by source and network only, until their next login.
// Whether a denied login was a new guess or a repeat of an old one is not in them either.
package learn

import (
	"fmt"
	"hash/maphash"
	"io"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/loginlog"
	"postern/limiter"
	"postern/limiter/watch"
)

// Options is what a replay needs of the gateway.
type Options struct {
	Policy   limiter.Policy
	Key      limiter.Key
	WatchKey [16]byte              // of the gateway's watch
	Exempt   func(netip.Addr) bool // whether the logins of an address are not learned
	Location *time.Location        // of the users
	Now      time.Time
	Since    time.Duration // leave out what is older than this; at most oldest, which is also the default
}

// oldest is the age above which logins are left out. The known table counts no longer than that.
const oldest = 366 * 24 * time.Hour

// A Result is what a replay has learned.
type Result struct {
	Known   []byte // snapshot of the limiter, for [limiter.Limiter.Merge]
	Watch   []byte // snapshot of the watch, for [watch.Watch.Merge]
	Summary Summary
}

// Summary counts what a replay has seen.
type Summary struct {
	Accepted, Denied int // attempts
	Faults           int // attempts that failed for another reason
	Exempt           int // lines about exempt addresses, left out
	Old              int // lines that are too old, left out
	Late             int // lines too far out of order for the baseline; the accounts were learned

	First, Last time.Time     // of the lines that were not left out; zero if there were none
	Attack      time.Duration // for how long the watch saw an attack, which it did not learn
	Accounts    int           // known at the end
	Networks    int           // of accepted logins; networksMost or more are not counted
	Week        float64       // share of the week that the watch has learned
	Reserve     bool          // the log is long enough to reserve capacity for the known
}

// Replay reads all events of a log and returns what was learned. next returns the next event by time, as
// [loginlog.Reader.Next] does, and io.EOF after the last; its errors are returned. Replay calls progress, unless that is
// nil, from time to time.
func Replay(next func() (loginlog.Event, error), o Options, progress func()) (*Result, error) {
	r, err := newReplay(o)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		e, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		r.event(e)
		if progress != nil && n%progressEvery == 0 {
			progress()
		}
	}
	return r.result(), nil
}

// progressEvery is how many events there are between two calls of progress.
const progressEvery = 4096

// A replay is a replay under way.
type replay struct {
	o        Options
	limiter  *limiter.Limiter
	watch    *watch.Watch
	latest   time.Time // up to which the watch was ticked
	summary  Summary
	seed     maphash.Seed
	networks map[uint64]struct{}
}

// networksMost bounds the memory for counting networks.
const networksMost = 1 << 20

func newReplay(o Options) (*replay, error) {
	l, err := limiter.New(o.Policy, o.Key)
	if err != nil {
		return nil, fmt.Errorf("make the limiter: %w", err)
	}
	if o.Since <= 0 || o.Since > oldest {
		o.Since = oldest
	}
	return &replay{
		o: o, limiter: l, watch: watch.New(watch.Config{Location: o.Location, Key: o.WatchKey}), seed: maphash.MakeSeed(), networks: map[uint64]struct{}{},
	}, nil
}

// lateMost is how much earlier than one before it an event may be and count for the baseline.
const lateMost = time.Minute

// event replays one event.
func (r *replay) event(e loginlog.Event) {
	s := &r.summary
	switch {
	case e.At.Before(r.o.Now.Add(-r.o.Since)):
		s.Old++
		return
	case r.o.Exempt != nil && r.o.Exempt(e.Addr):
		s.Exempt++
		return
	}
	if e.At.After(r.o.Now) { // by another clock
		e.At = r.o.Now
	}
	if s.First.IsZero() || e.At.Before(s.First) {
		s.First = e.At
	}
	if e.At.After(s.Last) {
		s.Last = e.At
	}
	r.settle(e)
}

// settle gives an event to the limiter and to the watch.
func (r *replay) settle(e loginlog.Event) {
	var source, network bool
	if e.Outcome == loginlog.Accepted {
		source, network = r.limiter.Learn(e.At, e.Addr, e.Account)
		r.countNetwork(e.Addr)
	} else {
		source, network = r.limiter.Near(e.At, e.Addr, e.Account)
	}
	r.count(e)
	if e.At.Before(r.latest.Add(-lateMost)) {
		r.summary.Late++
		return
	}
	r.advance(e.At)
	a := watch.Attempt{
		Source: limiter.Source(e.Addr), Network: limiter.Network(e.Addr), Account: e.Account,
		Known: source || e.Known, Usual: source || network || e.Known, Outcome: outcome(e.Outcome),
	}
	for range e.Attempts {
		r.watch.Attempt(e.At, a)
	}
}

// outcome returns the outcome as the watch names it.
func outcome(o loginlog.Outcome) watch.Outcome {
	return [...]watch.Outcome{
		loginlog.Accepted: watch.Accepted, loginlog.Denied: watch.Denied, loginlog.Fault: watch.Fault,
		loginlog.Repeat: watch.Repeat, loginlog.Rejected: watch.Rejected, loginlog.Shed: watch.Shed,
	}[o]
}

// count counts an event.
func (r *replay) count(e loginlog.Event) {
	switch e.Outcome {
	case loginlog.Accepted:
		r.summary.Accepted += e.Attempts
	case loginlog.Denied, loginlog.Repeat, loginlog.Rejected:
		r.summary.Denied += e.Attempts
	default:
		r.summary.Faults += e.Attempts
	}
}

// countNetwork counts the network of an accepted login, once.
func (r *replay) countNetwork(addr netip.Addr) {
	if len(r.networks) < networksMost {
		r.networks[maphash.Comparable(r.seed, limiter.Network(addr))] = struct{}{}
	}
}

// tick is the time between two evaluations by the watch.
const tick = 10 * time.Second

// gap is the longest time without an event that counts as a time without logins. If it is longer, a part of the log is
// missing.
const gap = time.Hour

// advance ticks the watch up to t.
func (r *replay) advance(t time.Time) {
	if r.latest.IsZero() || t.Sub(r.latest) > gap {
		r.watch.Tick(t)
		r.latest = t
		return
	}
	for next := r.latest.Add(tick); next.Before(t); next = next.Add(tick) {
		reading := r.watch.Tick(next)
		if reading.Ticked && reading.State.Attacked() {
			r.summary.Attack += tick
		}
		r.latest = next
	}
}

// result returns what was learned.
func (r *replay) result() *Result {
	s := r.summary
	stats := r.limiter.Stats(r.o.Now)
	s.Networks, s.Week = len(r.networks), r.watch.Learned(r.latest)
	known := r.limiter.Snapshot(r.o.Now)
	if _, accounts, err := limiter.SnapshotInfo(known); err == nil {
		s.Accounts = accounts
	}
	s.Reserve = stats.Learned
	return &Result{Known: known, Watch: r.watch.Snapshot(r.latest), Summary: s}
}
