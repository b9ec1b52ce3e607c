package eventlog

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/limiter"
)

// The bounds on lines that a flood of refused clients would multiply. Together they
// stay below the 10,000 lines in 30 s from which the systemd journal drops.
const (
	sampledPerSecond = 200  // lines in a second
	sampledBurst     = 3000 // lines at once, after 15 seconds without any

	// firstLines is how many of a burst are kept for the first line of each source.
	firstLines = sampledBurst / 2
	// furtherLines is how many lines of one source and rule are written in groupLasts
	// after the first, while there are more than firstLines.
	furtherLines = 20

	// groupLasts is how long further lines of a source and rule are counted together, at
	// least; it ends with the next report.
	groupLasts = time.Minute
	// groupsMax is how many sources and rules are followed: more than the lines that
	// can be written in groupLasts.
	groupsMax = 1 << 14
	// closingMax is how many closing lines one report may write.
	closingMax = 200
)

// A group is what lines have in common that are counted together.
type group struct {
	source   netip.Addr // the first address of the source
	rule     limiter.Rule
	action   string
	client   string // stranger, or known and perhaps a neighbour's
	level    slog.Level
	enforced bool

	forwarder netip.Addr // zero if the client itself connected
	listener  string     // empty if the client or its forwarder connected to one
}

// groupOf returns the group of a line about a client that connected.
func groupOf(client, forwarder netip.AddrPort, v limiter.Verdict, level slog.Level, observed bool) group {
	return group{limiter.Source(client.Addr()).Addr(), v.Rule, Action(v), Client(v), level, !observed, forwarder.Addr(), ""}
}

// A leftOut is a group, and how many of its lines were left out.
type leftOut struct {
	group
	rip      netip.Addr // of the line that was written first
	since    time.Time
	written  int // lines after the first
	lines    uint64
	from, to time.Time // when the first and the last line were left out
}

// A sampler decides which of the lines that a flood of refusals would multiply are
// written, and counts the others. The first line of each group is written before
// further ones.
type sampler struct {
	mu      sync.Mutex
	bucket  *rate.Limiter
	last    time.Time // the latest time given to bucket
	groups  map[group]*leftOut
	dropped uint64 // since the start
	others  uint64 // dropped since the last report, outside of groups
}

func newSampler() *sampler {
	return &sampler{bucket: rate.NewLimiter(sampledPerSecond, sampledBurst), groups: map[group]*leftOut{}}
}

// allow reports whether a line of group g about the address rip may be written at
// time t, and counts it as dropped if not. Goroutines may come here in another order
// than they read the clock in. A rate.Limiter that accepts an earlier time than before
// refills for the difference twice, so time is kept from going back.
func (s *sampler) allow(t time.Time, g group, rip netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Before(s.last) {
		t = s.last
	}
	s.last = t
	found := s.groups[g]
	switch {
	case found == nil && s.bucket.AllowN(t, 1):
		if len(s.groups) < groupsMax {
			s.groups[g] = &leftOut{group: g, rip: rip, since: t}
		}
		return true
	case found == nil:
		s.dropped++
		s.others++
		return false
	case found.written < furtherLines && s.bucket.TokensAt(t) > firstLines && s.bucket.AllowN(t, 1):
		found.written++
		return true
	}
	if found.lines == 0 {
		found.from = t
	}
	found.lines, found.to = found.lines+1, t
	s.dropped++
	return false
}

// report ends the groups that are over at time t, or all of them, and returns those
// with lines left out: of more than closingMax, the ones with the most. others is how
// many more lines were dropped since the last report.
func (s *sampler) report(t time.Time, all bool) (closed []leftOut, others uint64) {
	closed, others = s.endGroups(t, all)
	slices.SortFunc(closed, func(a, b leftOut) int {
		return cmp.Or(cmp.Compare(b.lines, a.lines), a.source.Compare(b.source), cmp.Compare(a.rule, b.rule))
	})
	for ; len(closed) > closingMax; closed = closed[:len(closed)-1] {
		others += closed[len(closed)-1].lines
	}
	return closed, others
}

// endGroups is report without the bound and the order.
func (s *sampler) endGroups(t time.Time, all bool) (closed []leftOut, others uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g, l := range s.groups {
		if !all && t.Sub(l.since) < groupLasts {
			continue
		}
		delete(s.groups, g)
		if l.lines > 0 {
			closed = append(closed, *l)
		}
	}
	others, s.others = s.others, 0
	return closed, others
}

// total returns how many lines were dropped since the start.
func (s *sampler) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
