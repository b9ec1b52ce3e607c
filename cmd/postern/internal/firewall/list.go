// Package firewall decides which sources a firewall in front of the gateway should drop, and
// publishes them. The gateway itself has no privilege and touches no firewall: others fetch the
// list and enforce it.
//
// A source is listed after it was refused again and again by the rules source, connect or
// blocked, for minutes. Each refusal then costs the gateway a handshake or a connection, and
// the client gets nothing. Being dropped by a firewall is worse than being refused: the client gets no
// answer, and the gateway no longer sees what it drops. So a source that may belong to the
// service or to a user of it is never listed (see Guard), and every entry ends by itself.
//
// In reading order:
//
//	list.go     counts refusals, and lists sources
//	guard.go    what is never listed
//	export.go   what survives an upgrade
//	stream.go   the list as the API of CrowdSec has it, for its bouncers
//	nft.go      the list as text, for nft(8) and for other programs
//	compare.go  the list compared with what a firewall has
//
// The package has no clock and no goroutine. It does not decide what a client is answered; that
// is package limiter.
package firewall

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/limiter"
)

// When a source is listed, and for how long.
const (
	// window is the time over which refusals are counted, in minutes.
	window = 10
	// A source is listed after refusalsMin refusals within the window, in minutesMin different minutes.
	refusalsMin = 30
	minutesMin  = 3

	// FirstTime is how long a source is listed at first. If it goes on afterwards, it is listed for
	// twice as long as before, for at most LongestTime.
	FirstTime   = 10 * time.Minute
	LongestTime = 24 * time.Hour
	// A source that was listed begins again with FirstTime if it has not been listed for as long as
	// it was the last time, and for forgetMin.
	forgetMin = time.Hour

	// EntriesMax bounds the list. Of more sources, the most costly are listed.
	EntriesMax = 10_000
	sourcesMax = 4 * EntriesMax // sources that are counted
	removedMax = EntriesMax     // removals that are remembered

	// RemovedTime is how long a removal is remembered for those who fetch the list.
	RemovedTime = time.Hour
)

// UpdateEvery is how often Update is to be called.
const UpdateEvery = 5 * time.Second

// What a refusal costs the gateway. A refused login had a TLS handshake, a refused connection
// in most cases has none.
const (
	LoginCost   = 10
	ConnectCost = 1
)

// A List counts refusals by source and lists those that a firewall should drop. Its methods may
// be called from several goroutines.
type List struct {
	guard Guard

	mu       sync.Mutex
	observe  bool
	sources  map[netip.Prefix]*source
	entries  int       // sources that are listed
	ended    uint64    // entries that were removed
	removed  []removal // the oldest first
	lastID   int64
	withheld map[Reason]int // at the latest Update
}

// A source is what is counted of one source.
type source struct {
	minute  int64          // of the latest refusal, since 1970
	refused [window]uint16 // by minute modulo window
	cost    [window]uint32 // likewise
	rule    limiter.Rule   // of the latest refusal

	id     int64 // zero: it is not listed
	listed time.Time
	until  time.Time // the end of the latest entry; zero if there was none
	times  uint8     // how often it was listed, since it was last forgotten (isForgotten)
}

// An Entry is a source that a firewall should drop.
type Entry struct {
	ID      int64
	Source  netip.Prefix // IPv4 /32 or IPv6 /64
	Rule    limiter.Rule // that refused it
	Listed  time.Time
	Until   time.Time
	Observe bool // the gateway only observes: the source should be counted, and not dropped
	Cost    int  // of its refusals within the last minutes
}

// A removal is an entry that has ended.
type removal struct {
	at time.Time
	Entry
}

// New returns an empty list.
func New(g Guard) *List {
	return &List{guard: g, sources: map[netip.Prefix]*source{}, withheld: map[Reason]int{}}
}

// Counts reports whether refusals by a rule are counted.
func Counts(r limiter.Rule) bool {
	return r == limiter.RuleSource || r == limiter.RuleConnect || r == limiter.RuleBlocked
}

// Refused counts a refusal of addr by a rule at time t. Only refusals of clients that connect
// directly may be counted: the packets of others come from a load balancer.
func (l *List) Refused(t time.Time, addr netip.Addr, rule limiter.Rule, cost int) {
	block := limiter.Source(addr)
	if !block.IsValid() || !Counts(rule) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[block]
	if s == nil {
		if len(l.sources) >= sourcesMax && !l.makeRoom() {
			return
		}
		s = &source{}
		l.sources[block] = s
	}
	s.advance(t)
	i := s.minute % window
	s.refused[i] = uint16(min(int(s.refused[i])+1, math.MaxUint16))
	s.cost[i] = uint32(min(int64(s.cost[i])+int64(cost), math.MaxUint32))
	s.rule = rule
}

// roomSample is how many sources are looked at to find one that can go.
const roomSample = 8

// makeRoom forgets the least costly of a few sources that are not listed. It returns false if
// all are.
func (l *List) makeRoom() bool {
	var least netip.Prefix
	var leastCost, seen int
	for block, s := range l.sources { // in random order
		if s.id == 0 && (!least.IsValid() || s.total() < leastCost) {
			least, leastCost = block, s.total()
		}
		if seen++; seen == roomSample {
			break
		}
	}
	delete(l.sources, least)
	return least.IsValid()
}

// Accepted forgets the refusals of a source from which a user logs in, and removes it from the
// list.
func (l *List) Accepted(t time.Time, addr netip.Addr) { l.Release(t, limiter.Source(addr)) }

// Release forgets the refusals of all sources in a network, and removes them from the list.
func (l *List) Release(t time.Time, network netip.Prefix) {
	if !network.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sources[network]; s != nil {
		l.remove(t, network, s)
		delete(l.sources, network)
	}
	if network == limiter.Source(network.Addr()) {
		return
	}
	for block, s := range l.sources {
		if network.Overlaps(block) {
			l.remove(t, block, s)
			delete(l.sources, block)
		}
	}
}

// SetObserve sets whether verdicts are only observed. A list of one mode is not one of the other:
// it begins anew when the mode changes.
func (l *List) SetObserve(t time.Time, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observe == on {
		return
	}
	for block, s := range l.sources {
		l.remove(t, block, s)
	}
	clear(l.sources)
	l.observe = on
}

// Update ends the entries that are over at time t, removes those that must not be listed any
// more, and lists sources that were refused again and again.
func (l *List) Update(t time.Time) {
	protected, pause := l.guard.protected(), l.guard.Pause(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.withheld)
	type candidate struct {
		block netip.Prefix
		*source
	}
	var candidates []candidate
	for block, s := range l.sources {
		s.advance(t)
		isDue := s.isDue()
		if s.id == 0 && !isDue {
			if s.total() == 0 && s.isForgotten(t) {
				delete(l.sources, block)
			}
			continue
		}
		reason := l.guard.withholds(t, block, s.rule, protected)
		if s.id != 0 && (reason != "" || !t.Before(s.until)) {
			l.remove(t, block, s)
		} else if s.id == 0 && reason == "" {
			candidates = append(candidates, candidate{block, s})
		}
		if reason != "" {
			l.withheld[reason]++
		}
	}
	if pause != "" {
		l.withheld[pause], candidates = len(candidates), nil
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), a.block.Addr().Compare(b.block.Addr()))
	})
	if free := EntriesMax - l.entries; len(candidates) > free {
		l.withheld[ReasonFull], candidates = len(candidates)-free, candidates[:free]
	}
	for _, c := range candidates {
		l.add(t, c.source)
	}
	l.forgetRemovals(t)
}

// add lists a source.
func (l *List) add(t time.Time, s *source) {
	if s.isForgotten(t) {
		s.times = 0
	}
	l.lastID++
	s.id, s.listed, s.until = l.lastID, t, t.Add(s.duration())
	s.times = min(s.times+1, math.MaxUint8-1)
	l.entries++
}

// remove takes a source off the list, if it is on it, and begins to count it anew.
func (l *List) remove(t time.Time, block netip.Prefix, s *source) {
	if s.id == 0 {
		return
	}
	if len(l.removed) >= removedMax {
		l.removed = slices.Delete(l.removed, 0, len(l.removed)-removedMax+1)
	}
	l.removed = append(l.removed, removal{t, l.entry(block, s)})
	if s.until.After(t) {
		s.until = t
	}
	s.id, s.refused, s.cost = 0, [window]uint16{}, [window]uint32{}
	l.entries--
	l.ended++
}

// forgetRemovals forgets removals that are too old at time t.
func (l *List) forgetRemovals(t time.Time) {
	old := slices.IndexFunc(l.removed, func(r removal) bool { return t.Sub(r.at) < RemovedTime })
	if old < 0 {
		old = len(l.removed)
	}
	l.removed = slices.Delete(l.removed, 0, old)
}

// entry is a source that is listed.
func (l *List) entry(block netip.Prefix, s *source) Entry {
	return Entry{ID: s.id, Source: block, Rule: s.rule, Listed: s.listed, Until: s.until, Observe: l.observe, Cost: s.total()}
}

// Entries returns all entries in force at time t, the most costly first.
func (l *List) Entries(t time.Time) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Entry, 0, l.entries)
	for block, s := range l.sources {
		if s.id != 0 && t.Before(s.until) {
			all = append(all, l.entry(block, s))
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(a.ID, b.ID)) })
	return all
}

// removals returns the entries that were removed from since on and are not listed again.
func (l *List) removals(since time.Time) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Entry
	for _, r := range l.removed {
		if s := l.sources[r.Source]; !r.at.Before(since) && (s == nil || s.id == 0) {
			all = append(all, r.Entry)
		}
	}
	return all
}

// Find returns the entry of the source of addr at time t, if there is one.
func (l *List) Find(t time.Time, addr netip.Addr) (Entry, bool) {
	block := limiter.Source(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sources[block]; s != nil && s.id != 0 && t.Before(s.until) {
		return l.entry(block, s), true
	}
	return Entry{}, false
}

// Stats are the sizes of a list.
type Stats struct {
	Observe  bool           // the entries are not to be dropped
	Listed   int            // sources
	Ended    uint64         // entries that were removed since the start of the process
	Withheld map[Reason]int // sources that would be listed but for a reason
}

// Stats returns the sizes at the latest Update.
func (l *List) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Observe: l.observe, Listed: l.entries, Ended: l.ended, Withheld: map[Reason]int{}}
	for _, r := range Reasons() {
		s.Withheld[r] = l.withheld[r]
	}
	return s
}

// advance forgets what was counted before the window that ends at time t.
func (s *source) advance(t time.Time) {
	now := t.Unix() / 60
	for m := max(s.minute+1, now-window+1); m <= now; m++ {
		s.refused[m%window], s.cost[m%window] = 0, 0
	}
	s.minute = max(s.minute, now) // the clock may go back
}

// isDue reports whether s was refused again and again.
func (s *source) isDue() bool {
	refusals, minutes := 0, 0
	for _, n := range s.refused {
		refusals += int(n)
		if n > 0 {
			minutes++
		}
	}
	return refusals >= refusalsMin && minutes >= minutesMin
}

// total is the cost within the window.
func (s *source) total() (sum int) {
	for _, c := range s.cost {
		sum += int(c)
	}
	return sum
}

// duration is how long s is to be listed when it was listed that often before.
func (s *source) duration() time.Duration {
	d := FirstTime
	for range s.times {
		if d *= 2; d >= LongestTime {
			return LongestTime
		}
	}
	return d
}

// isForgotten reports whether s was not listed for so long that its next time is like the first.
func (s *source) isForgotten(t time.Time) bool {
	return t.Sub(s.until) >= max(s.until.Sub(s.listed), forgetMin)
}
