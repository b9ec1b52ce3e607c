package share

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Times of members.
const (
	// memberTime is how long a gateway counts after its last heartbeat.
	memberTime = 60 * time.Second
	// replacedTime is how long a process counts after its last heartbeat when a newer one has its name.
	replacedTime = 5 * time.Second
	// pauseMax is how much of a time without any heartbeat counts: then the engine was down, and no gateway has left.
	pauseMax = 2 * time.Second
)

// membersMax bounds the processes that count. As a heartbeat opens only under the key of the site, it takes that many
// starts of gateways in a minute to have more; those are ignored.
const membersMax = 1024

// A Member is a process of a gateway that was seen lately.
type Member struct {
	Gateway   string
	Boot      Boot
	Own       bool      // this process
	Seen      time.Time // when its last heartbeat was sent
	Heartbeat Heartbeat
}

// Members are the gateways that were seen lately. It is not safe for concurrent use.
type Members struct {
	self    origin
	former  []Boot // from which this process took over
	members map[origin]*member
	count   uint64        // of members so far
	clock   time.Duration // how long heartbeats have been arriving
	last    time.Time     // when the newest was sent
	own     demand
}

// A member is a process whose heartbeats are received. Its times are those of Members.clock.
type member struct {
	Heartbeat
	number uint64    // the higher, the later it was first seen
	sent   time.Time // the last heartbeat
	first  time.Duration
	at     time.Duration
}

// NewMembers returns the Members as the process boot of a gateway sees them: itself.
func NewMembers(gateway string, boot Boot) *Members {
	return &Members{self: origin{gateway, boot}, members: map[origin]*member{}}
}

// Announce returns the record of the heartbeat h of this process, to be sent at time t: each second in the stream [Known].
func (m *Members) Announce(t time.Time, h Heartbeat) Record {
	h.Formats, h.Former = [2]uint8{FormatOldest, FormatNewest}, m.former
	r := h.record()
	m.own.announce(t, h.Known, h.Strangers)
	return r
}

// Heartbeat notes the heartbeat h of the process boot of a gateway that was sent at time t: now less the age of its record.
// Those of this process must be noted too, when they are read back from the engine.
func (m *Members) Heartbeat(t time.Time, gateway string, boot Boot, h Heartbeat) {
	from := origin{gateway, boot}
	if m.isReplaced(from) || h.check() != nil {
		return
	}
	if !m.last.IsZero() {
		m.clock += min(max(t.Sub(m.last), 0), pauseMax)
	}
	if t.After(m.last) {
		m.last = t
	}
	e := m.members[from]
	if e == nil {
		if len(m.members) >= membersMax {
			return
		}
		e = &member{number: m.count, first: m.clock}
		m.count++
		m.members[from] = e
	}
	e.Heartbeat, e.sent, e.at = h, t, m.clock
	if from == m.self {
		m.own.receipt(t)
	}
	maps.DeleteFunc(m.members, func(o origin, e *member) bool {
		return !m.counts(o, e) || o.Gateway == gateway && h.isFormer(o.Boot)
	})
}

// isReplaced reports whether another process has taken over from this one.
func (m *Members) isReplaced(from origin) bool {
	for o, e := range m.members {
		if o.Gateway == from.Gateway && e.isFormer(from.Boot) {
			return true
		}
	}
	return from.Gateway == m.self.Gateway && slices.Contains(m.former, from.Boot)
}

// counts reports whether the member e counts: it was seen lately, and more lately if a newer process has its name.
func (m *Members) counts(from origin, e *member) bool {
	age := m.clock - e.at // of its last heartbeat
	return age <= replacedTime || age <= memberTime && m.successor(from, e) == nil
}

// successor returns the next process that was seen under the name of the gateway after e, nil if there is none.
func (m *Members) successor(from origin, e *member) (next *member) {
	for o, other := range m.members {
		if o.Gateway == from.Gateway && other.number > e.number && (next == nil || other.number < next.number) {
			next = other
		}
	}
	return next
}

// Count returns how many gateways count together, this one included: all that were seen within the last 60 s. The time
// for which no heartbeat at all arrives, its own included, does not count: while the engine is down, no gateway is removed. If two
// gateways have the same name by mistake, both count. A process that joins should note the heartbeats of the last 60 s
// before it relies on Count.
func (m *Members) Count() int {
	n := len(m.members)
	if m.members[m.self] == nil {
		n++
	}
	return n
}

// Format returns the newest format that all members read: the oldest until this process has seen itself.
func (m *Members) Format() uint8 {
	if m.members[m.self] == nil {
		return FormatOldest
	}
	format := FormatNewest
	for _, e := range m.members {
		format = min(format, e.Formats[1])
	}
	return max(format, FormatOldest)
}

// List returns the members in the order of their names.
func (m *Members) List() []Member {
	list := make([]Member, 0, len(m.members))
	for o, e := range m.members {
		list = append(list, Member{Gateway: o.Gateway, Boot: o.Boot, Own: o == m.self, Seen: e.sent, Heartbeat: e.Heartbeat})
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), slices.Compare(a.Boot[:], b.Boot[:]))
	})
	return list
}

// Conflicts returns the names of gateways that two processes use at the same time, without an upgrade: the older one was
// seen for more than 5 s after the newer one had begun. On one of them, POSTERN_GATEWAY must be set.
func (m *Members) Conflicts() []string {
	var names []string
	for o, e := range m.members {
		if next := m.successor(o, e); next != nil && e.at > next.first+replacedTime {
			names = append(names, o.Gateway)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
