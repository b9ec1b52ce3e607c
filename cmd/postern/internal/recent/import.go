package recent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/eventlog"
)

// errDamaged is in the errors about an export that cannot be read.
var errDamaged = errors.New("the export is damaged")

// Import adds what another Memory has exported. m must not have events yet. After an
// error, m is as before.
func (m *Memory) Import(export []byte) error {
	first := bytes.HasPrefix(export, []byte(exportMagic1))
	if !first && !bytes.HasPrefix(export, []byte(exportMagic)) {
		return fmt.Errorf("import recent events: got another format, want %q: %w", exportMagic, errDamaged)
	}
	rd := importer{rest: export[len(exportMagic):], first: first}
	counts := rd.series()
	accepted, users, others := rd.ring(acceptedMax, false), rd.ring(usersMax, true), rd.ring(othersMax, true)
	if rd.bad || len(rd.rest) > 0 {
		return fmt.Errorf("import recent events: %w", errDamaged)
	}
	rd.complete = true
	filled := [3]ring{m.filled(&rd, m.accepted.empty(), accepted), m.filled(&rd, m.users.empty(), users), m.filled(&rd, m.others.empty(), others)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users.next+m.others.next+m.accepted.next > 0 {
		return errors.New("import recent events: got an export, want none, because events are remembered already")
	}
	m.series, m.accepted, m.users, m.others = counts, filled[0], filled[1], filled[2]
	return nil
}

// filled returns r, which is empty, with the events of an export.
func (m *Memory) filled(rd *importer, r ring, events importedRing) ring {
	r.dropped = events.since
	for i := len(events.at) - 1; i >= 0; i-- {
		rd.rest, rd.last = events.rest[events.at[i].offset:], events.at[i].before
		x := rd.entry(r.texts.most > 0)
		e := entry{at: x.at, account: m.accountKey(x.texts.account), session: m.sessionKey(x.texts.session), waited: uint32(x.waited / time.Millisecond)}
		e.rule, e.result, e.action, e.flags = rules.id(x.rule), results.id(x.result), actions.id(x.action), x.flags&knownFlags
		e.setAddr(x.addr)
		if r.texts.most == 0 {
			r.add(e, nil)
			continue
		}
		var buf [textMax]byte
		r.add(e, m.appendTexts(buf[:0], x.texts, e.has(flagUser)))
	}
	return r
}

// An importer reads an export. After damage, bad is set and what it reads has no meaning.
type importer struct {
	rest     []byte
	bad      bool
	first    bool     // it is of version 1
	last     int64    // time of the entry before
	common   []string // texts that have numbers
	complete bool     // common has all of them, because everything was read once
}

// An importedRing says where the entries of a ring are in an export.
type importedRing struct {
	since int64
	rest  []byte // from the first entry on
	at    []importedAt
}

// An importedAt is where an entry is, and the time of the one before it.
type importedAt struct {
	offset int
	before int64
}

// series reads the counts of the seconds.
func (rd *importer) series() (s series) {
	s.start = rd.varint()
	for range s.seconds {
		second := rd.varint()
		if rd.bad || second == 0 {
			return s
		}
		slot := s.at(second)
		for _, n := range slot.counts() {
			*n = uint32(rd.uvarint(1<<32 - 1))
		}
	}
	rd.bad = rd.bad || rd.varint() != 0
	return s
}

// ring reads the entries of a ring to its end, and notes where they are.
func (rd *importer) ring(most uint64, texts bool) (r importedRing) {
	r.since = rd.varint()
	n := int(rd.uvarint(min(most, uint64(len(rd.rest)))))
	r.rest, rd.last = rd.rest, 0
	for i := 0; i < n && !rd.bad; i++ {
		r.at = append(r.at, importedAt{len(r.rest) - len(rd.rest), rd.last})
		rd.entry(texts)
	}
	return r
}

// entry reads what exporter.entry has appended.
func (rd *importer) entry(hasTexts bool) (x exported) {
	x.at = rd.last + rd.varint()
	rd.last = x.at
	x.flags = rd.octet()
	if n := rd.octet(); n > 0 {
		addr, ok := netip.AddrFromSlice(rd.octets(uint64(n)))
		rd.bad = rd.bad || !ok
		x.addr = addr.Unmap()
	}
	x.waited = time.Duration(rd.uvarint(uint64(maxWaited/time.Millisecond))) * time.Millisecond
	x.rule, x.result, x.action = rd.shared(eventlog.NameMax), rd.shared(eventlog.NameMax), rd.shared(eventlog.NameMax)
	if !hasTexts {
		return x
	}
	t := &x.texts
	t.listener, t.method, t.backend = rd.shared(eventlog.NameMax), rd.shared(eventlog.NameMax), rd.shared(eventlog.NameMax)
	t.why = rd.shared(whyMax)
	if !rd.first {
		t.ja4 = rd.shared(eventlog.NameMax)
	}
	t.session, t.account, t.err = rd.text(sessionMax), rd.text(eventlog.NameMax), rd.text(eventlog.NameMax)
	return x
}

// shared reads what exporter.shared has appended.
func (rd *importer) shared(most int) string {
	n := rd.uvarint(commonMax + 1)
	if n >= 2 {
		if rd.bad = rd.bad || n-2 >= uint64(len(rd.common)); rd.bad {
			return ""
		}
		return rd.common[n-2]
	}
	s := rd.text(most)
	if n == 1 && !rd.complete {
		rd.bad = rd.bad || len(rd.common) == commonMax
		rd.common = append(rd.common, s)
	}
	return s
}

// text reads a text of at most most octets, and returns it as it was before it was escaped.
func (rd *importer) text(most int) string {
	s := string(rd.octets(rd.uvarint(uint64(most))))
	original, _ := eventlog.Original(s)
	rd.bad = rd.bad || eventlog.Printable(original, most) != s
	return original
}

func (rd *importer) octet() byte {
	if b := rd.octets(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (rd *importer) octets(n uint64) []byte {
	if rd.bad = rd.bad || n > uint64(len(rd.rest)); rd.bad {
		return nil
	}
	b := rd.rest[:n]
	rd.rest = rd.rest[n:]
	return b
}

func (rd *importer) varint() int64 {
	n, size := binary.Varint(rd.rest)
	if rd.bad = rd.bad || size <= 0; rd.bad {
		return 0
	}
	rd.rest = rd.rest[size:]
	return n
}

func (rd *importer) uvarint(most uint64) uint64 {
	n, size := binary.Uvarint(rd.rest)
	if rd.bad = rd.bad || size <= 0 || n > most; rd.bad {
		return 0
	}
	rd.rest = rd.rest[size:]
	return n
}
