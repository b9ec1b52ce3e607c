package share

import "time"

// Times of the parts of the global bucket.
const (
	// seenTime is how old the newest heartbeat of each member may be for a gateway to use a part that depends on demand.
	seenTime = 3 * time.Second
	// growTime is how long a gateway counts on the least demand that it has announced. It is longer than seenTime: so
	// what any other member has seen from it lately is as much at least.
	growTime = 4 * time.Second
)

// demand is what this process has announced of its demand for global tokens.
type demand struct {
	known, strangers least
	joined           time.Time // when its first heartbeat was sent that was read back; zero if none was
}

// announce notes that a heartbeat with these rates is sent at time t.
func (d *demand) announce(t time.Time, known, strangers float64) {
	d.known.set(t, known)
	d.strangers.set(t, strangers)
}

// receipt notes that a heartbeat of this process, sent at time t, was read back.
func (d *demand) receipt(t time.Time) {
	if d.joined.IsZero() {
		d.joined = t
	}
}

// Global returns the part of the global bucket that this gateway may use at time t, 1 if it is alone on the site:
//
//	1/2N + 1/2 · (3/4 · known/Σ known + 1/4 · strangers/Σ strangers)
//
// Known and strangers are its demand, as announced; the sums are over all members. An attack at one gateway is a demand of
// strangers, and leaves most to where the known are. A part shrinks at once, when its gateway announces less or another one
// more, and grows 4 s after its gateway has announced more. So the parts of all together are at most 1, however heartbeats
// are delayed and lost, if each gateway has received one of each other that was sent within the last 3 s. One that has not
// uses 1/N at most. One that has just joined uses 1/2N, until 4 s after its first heartbeat. Until that heartbeat has reached
// the others, the sum is higher by 1/2N.
//
// It is for gateways that can reach the engine. One that cannot (mode alone) uses 1/N.
func (m *Members) Global(t time.Time) float64 {
	n := m.Count()
	if n == 1 {
		return 1
	}
	base := 1 / (2 * float64(n))
	if m.own.joined.IsZero() || t.Sub(m.own.joined) < growTime {
		return base
	}
	known, strangers := m.own.known.at(t), m.own.strangers.at(t)
	allKnown, allStrangers, seenAll := known, strangers, true
	for o, e := range m.members {
		if o != m.self {
			allKnown += e.Known
			allStrangers += e.Strangers
			seenAll = seenAll && t.Sub(e.sent) <= seenTime
		}
	}
	var part float64
	switch {
	case allKnown > 0 && allStrangers > 0:
		part = 0.75*known/allKnown + 0.25*strangers/allStrangers
	case allKnown > 0:
		part = known / allKnown
	case allStrangers > 0:
		part = strangers / allStrangers
	default:
		part = 1 / float64(n)
	}
	if part = base + part/2; !seenAll {
		part = min(part, 2*base)
	}
	return part
}

// least is the least value that a number has had within growTime, zero before it was set.
type least struct {
	value float64  // now
	past  []former // values below all later ones, the oldest first
}

// A former value was replaced at a time.
type former struct {
	value float64
	until time.Time
}

// set replaces the value at time t.
func (l *least) set(t time.Time, value float64) {
	n := len(l.past)
	for n > 0 && l.past[n-1].value >= l.value {
		n--
	}
	l.past = append(l.past[:n], former{l.value, t})
	l.value = value
	l.forget(t)
}

// restore sets the value, and the least one, to those of another process at time t.
func (l *least) restore(t time.Time, values [2]float64) {
	l.value, l.past = values[0], []former{{values[1], t}}
}

// at returns the least value between growTime before t and t.
func (l *least) at(t time.Time) float64 {
	l.forget(t)
	if len(l.past) > 0 {
		return min(l.past[0].value, l.value)
	}
	return l.value
}

// forget removes the values that were replaced longer than growTime before t.
func (l *least) forget(t time.Time) {
	n := 0
	for n < len(l.past) && t.Sub(l.past[n].until) > growTime {
		n++
	}
	l.past = l.past[n:]
}
