package limiter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Import makes l know at time t what the process knew whose [Limiter.Export] returned data: from then on its verdicts are
// those that the other would have given. l must be new and have the same key. What the exporter itself has open counts
// as that of the sibling number former, until its events say that it is over, or [Limiter.Forget] is called. What its
// siblings have open remains theirs. If the table of l is too small, it keeps what is open and what is most spent. If
// data is damaged, of another version or made under another key, Import returns an error and changes nothing.
func (l *Limiter) Import(t time.Time, data []byte, former int) error {
	x, err := l.parseExport(t, data, former)
	if err != nil {
		return fmt.Errorf("importing from another process: %w", err)
	}
	l.cut.Lock()
	defer l.cut.Unlock()
	now, r := l.epoch.ticks(t), l.rules.Load()
	if x.since != 0 {
		l.known.since.CompareAndSwap(0, x.since)
	}
	if err := eachAccount(x.known, t, func(account key, a *knownAccount) {
		l.known.restore(account, a, validityAt(t, r.KnownTTL), r.TableMax)
	}); err != nil {
		return fmt.Errorf("importing from another process: %w", err)
	}
	for i := range x.usages {
		l.known.setUsage(now, &x.usages[i])
	}
	for f, a := range x.sources {
		l.known.sources.set(f, a, hourOf(t))
	}
	for i := range x.cells {
		l.sprays.set(now, x.cells[i])
	}
	l.globalQueue.setMissing(now, x.global, r)
	l.importEntries(now, r, &x, former)
	l.ja4s.set(now, x.ja4s)
	l.setIndebted()
	return nil
}

// An exported is a decoded export. Its times are relative.
type exported struct {
	known    []byte // snapshot without checksum
	since    int64
	usages   []accountUsage
	sources  map[uint32]acceptedSource // at is an age
	cells    []sprayCell
	global   time.Duration
	entries  []entry
	siblings map[int]map[key]open
	ja4s     *ja4Table // nil if the exporter had none
}

type accountUsage struct {
	account key
	use     time.Duration
	usage   float64
}

// parseExport decodes data, all of which must be right.
func (l *Limiter) parseExport(t time.Time, data []byte, former int) (x exported, err error) {
	body, err := l.exportBody(data)
	if err != nil {
		return x, err
	}
	rd := reader{rest: body}
	x.known = rd.octets(rd.uvarint(math.MaxInt32))
	if rd.bad {
		return x, errExportDamaged
	}
	if x.since, err = checkSnapshot(x.known, t); err != nil {
		return x, err
	}
	x.readKnown(&rd)
	for range rd.count(sprayCells) {
		x.cells = append(x.cells, readSprayCell(&rd))
	}
	x.global = rd.remaining()
	for range rd.count(math.MaxInt32) {
		x.entries = append(x.entries, readEntry(&rd))
	}
	x.readSiblings(&rd)
	if len(rd.rest) > 0 {
		x.ja4s = readJA4s(&rd)
	}
	if _, ok := x.siblings[former]; ok && !rd.bad {
		return x, fmt.Errorf("got %d as the number of the exporter, want one that none of its siblings has", former)
	}
	if rd.bad || len(rd.rest) > 0 {
		return x, errExportDamaged
	}
	return x, nil
}

// readKnown reads what belongs to the known table and is not in a snapshot.
func (x *exported) readKnown(rd *reader) {
	for range rd.count(math.MaxInt32) {
		u := accountUsage{account: rd.key(), use: rd.remaining()}
		u.usage = math.Float64frombits(rd.number(8))
		rd.bad = rd.bad || math.IsNaN(u.usage) || math.IsInf(u.usage, 0)
		x.usages = append(x.usages, u)
	}
	x.sources = map[uint32]acceptedSource{}
	for range rd.count(math.MaxInt32) {
		f := uint32(rd.number(4))
		x.sources[f] = acceptedSource{at: hour(rd.number(2)), current: uint16(rd.number(2)), previous: uint16(rd.number(2))}
	}
}

func readSprayCell(rd *reader) (c sprayCell) {
	c.password, c.accounts = uint32(rd.number(4)), rd.number(8)
	c.until, c.weight = ticks(min(rd.remaining(), sprayTime)), uint8(min(rd.number(1), sprayWeightMax))
	return c
}

func readEntry(rd *reader) (e entry) {
	e.key, e.kind = rd.key(), rd.kind()
	e.denials, e.looks, e.connects = bucket(rd.remaining()), bucket(rd.remaining()), bucket(rd.remaining())
	e.penaltyUntil = ticks(rd.remaining())
	o := readOpen(rd)
	e.holds, e.lookHolds, e.open, e.prelogin = o.holds, uint16(o.looks), o.connections, o.prelogin
	e.starved = uint8(rd.number(1))
	rd.bad = rd.bad || e.key == key{}
	return e
}

func (x *exported) readSiblings(rd *reader) {
	x.siblings = map[int]map[key]open{}
	for range rd.count(math.MaxInt32) {
		n := rd.varint()
		opened := map[key]open{}
		for range rd.count(math.MaxInt32) {
			k := rd.key()
			opened[k] = readOpen(rd)
		}
		x.siblings[n] = opened
	}
}

func readOpen(rd *reader) (o open) {
	o = open{holds: uint32(rd.uvarint(openMax)), looks: uint32(rd.uvarint(lookHoldsMax))}
	o.connections, o.prelogin = uint32(rd.uvarint(openMax)), uint32(rd.uvarint(openMax))
	return o
}

// importEntries adds entries, whose times are relative to now, as far as the table has room: first those of connections,
// then those of the known, then the accounts, in the order in which a table gets full. What is open in them is that of
// the sibling number former and its siblings.
func (l *Limiter) importEntries(now ticks, r *rules, x *exported, former int) {
	entries := x.entries
	if len(entries) > r.TableMax { // perhaps not all can stay
		slices.SortFunc(entries, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.importLimit(r), b.importLimit(r)), cmp.Compare(min(b.holds+b.open, 1), min(a.holds+a.open, 1)),
				cmp.Compare(max(b.denials, b.looks), max(a.denials, a.looks)))
		})
	}
	for n := range x.siblings {
		l.siblings.add(n)
	}
	opened := l.siblings.add(former)
	for i := range entries {
		e := &entries[i]
		own, mu := l.table.findOrAdd(now, e.key, e.kind, e.importLimit(r))
		if own == nil {
			continue
		}
		own.denials, own.looks, own.connects = e.denials.from(now), e.looks.from(now), e.connects.from(now)
		own.penaltyUntil, own.starved = ticks(bucket(e.penaltyUntil).from(now)), e.starved
		own.opened(opened, open{e.holds, uint32(e.lookHolds), e.open, e.prelogin})
		for n, all := range x.siblings {
			own.opened(l.siblings.of[n], all[e.key])
		}
		mu.Unlock()
	}
}

// importLimit returns how many entries the table may have when e is imported.
func (e *entry) importLimit(r *rules) int {
	return r.tableMax(e.kind, e.kind == kindPair || e.kind == kindRepeat || e.kind == kindUse, true)
}

// from returns the bucket that is full the time b after now, zero if that is now.
func (b bucket) from(now ticks) bucket {
	if b == 0 {
		return 0
	}
	return bucket(now.add(time.Duration(b)))
}

// setUsage sets the usage of an account, if it is known.
func (n *knownTable) setUsage(now ticks, u *accountUsage) {
	s := n.shard(u.account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(u.account); a != nil {
		a.use = bucket(u.use).from(now)
		a.usage = max(u.usage+float64(now)/float64(usageTime), 0)
	}
}

// set sets how many accounts were accepted from source f lately, if it is one of an account. a.at is an age.
func (s *acceptedSources) set(f uint32, a acceptedSource, now hour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own, ok := s.entries[f]; ok {
		own.at, own.current, own.previous = now-a.at, min(a.current, maxGrowth+1), min(a.previous, maxGrowth+1)
		s.entries[f] = own
	}
}

// set adds c, whose time is relative to now.
func (t *sprayTable) set(now ticks, c sprayCell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.until += now
	*t.cell(c.password) = c
}

// setMissing sets the time until the bucket is full, at most that of an empty one.
func (q *globalQueue) setMissing(now ticks, missing time.Duration, r *rules) {
	if r.global.off() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bucket.setMissing(now, missing, &r.global)
}
