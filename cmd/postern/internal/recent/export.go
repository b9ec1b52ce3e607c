package recent

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// An export has, after exportMagic: the counts of the seconds; for known users, others and
// accepted attempts, since when they are complete, how many follow, and these, the newest
// first. Numbers have variable length, texts follow their length. The texts that many
// events have in common are there once, and then their numbers. Version 1 has no JA4.
const (
	exportMagic  = "postern recent 2\n"
	exportMagic1 = "postern recent 1\n"
)

// The bounds of an export in octets. What known users have not used is for others.
const (
	exportMax      = 8 << 20
	exportAccepted = 1 << 20
	exportUsers    = exportMax - exportAccepted - 2<<20
)

// commonMax is how many texts of an export have numbers.
const commonMax = 256

// An exporter appends to an export.
type exporter struct {
	b      []byte
	common map[string]uint64
	last   int64 // time of the entry before
}

// Export returns what is remembered, for a process that takes over: at most 8 MB of it, the
// latest events, and those of known users before others. Of attempts that were accepted at
// once, it does not have the accounts.
func (m *Memory) Export() []byte {
	x := exporter{b: []byte(exportMagic), common: map[string]uint64{}}
	m.mu.Lock()
	counts := m.series
	m.mu.Unlock()
	x.series(&counts)
	m.exportRing(&x, &m.accepted, exportAccepted)
	m.exportRing(&x, &m.users, len(x.b)+exportUsers)
	m.exportRing(&x, &m.others, exportMax)
	return x.b
}

// series appends the counts of the seconds that have any.
func (x *exporter) series(s *series) {
	x.varint(s.start)
	for i := range s.seconds {
		if slot := &s.seconds[i]; slot.Time != 0 {
			x.varint(slot.Time)
			for _, n := range slot.counts() {
				x.uvarint(uint64(*n))
			}
		}
	}
	x.varint(0)
}

// counts are the numbers of s, in the order of an export.
func (s *Second) counts() [6]*uint32 {
	return [6]*uint32{&s.Known, &s.Stranger, &s.Denied, &s.Repeat, &s.Refused, &s.Void}
}

// exportRing appends the entries of r, until the export has at least most octets.
func (m *Memory) exportRing(x *exporter, r *ring, most int) {
	m.mu.Lock()
	since := r.since(m.start).UnixNano()
	m.mu.Unlock()
	var events exporter
	events.common, events.last = x.common, 0
	n := uint64(0)
	m.scan(r, func(number uint64, e *entry) bool {
		if len(x.b)+len(events.b) > most-textMax {
			since = max(since, e.at)
			return false
		}
		var t texts
		if e.text != noText {
			event, ok := m.event(r, number)
			if !ok {
				return false
			}
			t = texts{event.Listener, event.Method, event.Backend, event.Why, event.JA4, event.Session, event.Account, event.Error}
		}
		events.entry(e, t)
		n++
		return true
	})
	x.varint(since)
	x.uvarint(n)
	x.b = append(x.b, events.b...)
}

// entry appends an entry with its texts.
func (x *exporter) entry(e *entry, t texts) {
	x.varint(e.at - x.last)
	x.last = e.at
	x.b = append(x.b, e.flags)
	if addr := e.address(); addr.IsValid() {
		b := addr.AsSlice()
		x.b = append(append(x.b, byte(len(b))), b...)
	} else {
		x.b = append(x.b, 0)
	}
	x.uvarint(uint64(e.waited))
	x.shared(rules[e.rule], true)
	x.shared(results[e.result], true)
	x.shared(actions[e.action], true)
	if e.text == noText {
		return
	}
	x.shared(t.listener, true)
	x.shared(t.method, true)
	x.shared(t.backend, true)
	x.shared(t.why, !e.has(flagUser))
	x.shared(t.ja4, true)
	x.text(t.session)
	x.text(t.account)
	x.text(t.err)
}

// shared appends a text that others may have as well: its number from 2 on; or 1 and the
// text, which gets the next number; or 0 and the text, which gets none.
func (x *exporter) shared(s string, number bool) {
	n, ok := x.common[s]
	switch {
	case ok:
		x.uvarint(n)
		return
	case number && len(x.common) < commonMax:
		x.common[s] = uint64(len(x.common)) + 2
		x.uvarint(1)
	default:
		x.uvarint(0)
	}
	x.text(s)
}

func (x *exporter) text(s string) {
	x.uvarint(uint64(len(s)))
	x.b = append(x.b, s...)
}

func (x *exporter) varint(n int64)   { x.b = binary.AppendVarint(x.b, n) }
func (x *exporter) uvarint(n uint64) { x.b = binary.AppendUvarint(x.b, n) }

// exported is what an export has of one event.
type exported struct {
	at                   int64
	flags                uint8
	addr                 netip.Addr
	waited               time.Duration
	rule, result, action string
	texts                texts
}
