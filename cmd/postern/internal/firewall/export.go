package firewall

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"postern/limiter"
)

// exportedMax bounds the exported list: the next process need not know sources that are only
// counted.
const exportedMax = EntriesMax

// An Export is what the next process of a gateway takes over: what is listed, and how often sources
// were listed that are not now. Refusals are not in it; they are counted anew within minutes.
type Export struct {
	Observe bool
	LastID  int64
	Sources []ExportedSource
}

// An ExportedSource is a source of an Export.
type ExportedSource struct {
	Source netip.Prefix
	Rule   limiter.Rule
	ID     int64 // zero: it is not listed
	Listed time.Time
	Until  time.Time
	Times  uint8
	Cost   int
}

// Export returns what another process can import at once.
func (l *List) Export() ([]byte, error) {
	l.mu.Lock()
	x := Export{Observe: l.observe, LastID: l.lastID}
	for _, listed := range []bool{true, false} { // those that are listed come first
		for block, s := range l.sources {
			if s.times > 0 && (s.id != 0) == listed && len(x.Sources) < exportedMax {
				x.Sources = append(x.Sources, ExportedSource{block, s.rule, s.id, s.listed, s.until, s.times, s.total()})
			}
		}
	}
	l.mu.Unlock()
	return json.Marshal(x)
}

// Import takes over at time t what Export has returned. l must be new.
func (l *List) Import(t time.Time, data []byte) error {
	var x Export
	if err := json.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("take over the list for firewalls: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observe, l.lastID = x.Observe, x.LastID
	for _, e := range x.Sources {
		if e.Source != limiter.Source(e.Source.Addr()) || l.sources[e.Source] != nil || len(l.sources) >= exportedMax {
			return fmt.Errorf("take over the list for firewalls: got source %v, want an IPv4 /32 or an IPv6 /64 that is in it once", e.Source)
		}
		s := &source{rule: e.Rule, id: e.ID, listed: e.Listed, until: e.Until, times: e.Times}
		s.advance(t)
		s.cost[s.minute%window] = uint32(max(e.Cost, 0))
		l.sources[e.Source] = s
		if s.id != 0 {
			l.entries++
		}
	}
	return nil
}
