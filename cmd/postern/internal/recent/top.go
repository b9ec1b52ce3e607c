package recent

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/limiter"
)

// What the rows of a Top are about.
const (
	bySource = iota
	byNetwork
	byAccount
	numSubjects
)

// topMax is how many rows Top returns at most of each subject.
const topMax = 1000

// disorder is how much later than the next one an entry may have been added. Goroutines
// read the clock in another order than they come to the lock.
const disorder = 2 * time.Second

// topScratch is what Top needs, kept for the next call. Calls take turns.
type topScratch struct {
	mu   sync.Mutex
	keys [numSubjects][]uint32 // of the failures in the window
	sort []uint32
}

// Top returns the sources, networks and accounts with most attempts that were not
// accepted in the time window before t, at most most of each, and at most 1,000.
//
// It reads all events twice: once to count by subject, and once for the rows of those
// with most. Subjects have keys of 32 bits. Two may have the same by accident, and then
// count together; a secret in the keys keeps that an accident.
func (m *Memory) Top(t time.Time, window time.Duration, most int) Top {
	m.top.mu.Lock()
	defer m.top.mu.Unlock()
	keys := &m.top.keys
	for i := range keys {
		keys[i] = keys[i][:0]
	}
	rings := []*ring{&m.users, &m.others}
	m.scanWindow(rings, t, window, func(_ *ring, _ uint64, e *entry) {
		if e.isFailure() {
			for i, key := range m.subjectKeys(e) {
				keys[i] = append(keys[i], key)
			}
		}
	})
	var rows [numSubjects]*rowSet
	for i := range rows {
		rows[i] = newRowSet(m.top.mostFrequent(keys[i], min(max(most, 0), topMax)))
	}
	m.scanWindow(append(rings, &m.accepted), t, window, func(r *ring, number uint64, e *entry) {
		if !e.has(flagAttempt) && !e.isFailure() {
			return
		}
		keys := m.subjectKeys(e)
		for i, key := range keys {
			if row := rows[i].find(key); row != nil {
				row.add(e, r, number)
				row.others.add(keys[others[i]])
			}
		}
	})
	return Top{Window: window, Sources: m.finish(bySource, rows[bySource]), Networks: m.finish(byNetwork, rows[byNetwork]), Accounts: m.finish(byAccount, rows[byAccount])}
}

// scanWindow calls f for the entries of rings that are of the time window before t.
func (m *Memory) scanWindow(rings []*ring, t time.Time, window time.Duration, f func(r *ring, number uint64, e *entry)) {
	from, to := t.Add(-window).UnixNano(), t.Add(disorder).UnixNano()
	for _, r := range rings {
		m.scan(r, func(number uint64, e *entry) bool {
			if e.at >= from && e.at <= to {
				f(r, number, e)
			}
			return e.at >= from-int64(disorder)
		})
	}
}

// isFailure reports whether an entry is an attempt that was not accepted, or a connection
// that was refused or came to nothing before one.
func (e *entry) isFailure() bool {
	if e.has(flagAttempt) {
		return results[e.result] != "accepted"
	}
	switch results[e.result] {
	case "tries", "shutdown", "panic", "proxy_header":
		return false // its attempts count, or the client has not failed
	}
	return !e.has(flagUser)
}

// subjectKeys are the keys of what an entry counts for, zero for nothing.
func (m *Memory) subjectKeys(e *entry) (keys [numSubjects]uint32) {
	keys[byAccount] = uint32(e.account >> 32)
	if !e.has(flagNoAddr) {
		keys[bySource], keys[byNetwork] = m.blockKeys(e)
	}
	return keys
}

// mappedIPv4 begins the form of IPv4 addresses in an entry.
var mappedIPv4 = [12]byte{10: 0xff, 11: 0xff}

// blockKeys are the keys of the source and the network of an entry with an address.
func (m *Memory) blockKeys(e *entry) (source, network uint32) {
	sourceBytes, networkBytes := 8, 6 // IPv6 /64 and /48
	if [12]byte(e.addr[:12]) == mappedIPv4 {
		sourceBytes, networkBytes = 16, 15 // IPv4 /32 and /24
	}
	return uint32(maphash.Bytes(m.seed, e.addr[:sourceBytes])), uint32(maphash.Bytes(m.seed, e.addr[:networkBytes]))
}

// others has, by subject, the subject whose number is in Row.Others.
var others = [numSubjects]int{bySource: byAccount, byNetwork: byAccount, byAccount: byNetwork}

// A rowSet has the rows of one subject by their keys.
type rowSet struct {
	index [1 << 12]uint16 // by the last bits of a key, else in the next free place: one more than the index in rows
	rows  []rowCount
}

// A rowCount is a row that is being counted.
type rowCount struct {
	Row
	key    uint32
	addr   netip.Addr
	ring   *ring // of the latest event, which has the name of the account
	number uint64
	first  int64 // nanoseconds since 1970
	last   int64
	others distinct
	rules  [32]int // how often each rule has delayed or refused
}

// newRowSet returns empty rows for keys, at most topMax.
func newRowSet(keys []uint32) *rowSet {
	s := &rowSet{rows: make([]rowCount, len(keys))}
	for i, key := range keys {
		at := key % uint32(len(s.index))
		for s.index[at] != 0 {
			at = (at + 1) % uint32(len(s.index))
		}
		s.rows[i].key, s.index[at] = key, uint16(i+1)
	}
	return s
}

// find returns the row of a key, nil if it has none.
func (s *rowSet) find(key uint32) *rowCount {
	for at := key % uint32(len(s.index)); s.index[at] != 0; at = (at + 1) % uint32(len(s.index)) {
		if r := &s.rows[s.index[at]-1]; r.key == key {
			return r
		}
	}
	return nil
}

// add counts an entry.
func (r *rowCount) add(e *entry, from *ring, number uint64) {
	if r.Attempts == 0 {
		r.first, r.last = e.at, e.at
	}
	r.first, r.last = min(r.first, e.at), max(r.last, e.at)
	r.Attempts++
	switch result := results[e.result]; result {
	case "accepted":
		r.Accepted++
		r.Known = r.Known || e.has(flagUser)
	case "denied", "repeat":
		r.Denied++
	case "refused", "evicted", "blocked":
		r.Refused++
	}
	if e.has(flagWaited) {
		r.Waited++
	}
	if actions[e.action] != "pass" {
		r.rules[int(e.rule)%len(r.rules)]++
	}
	if e.text != noText && r.ring == nil {
		r.addr, r.ring, r.number = e.address(), from, number
	}
}

// finish returns the rows of a subject with their names, in order.
func (m *Memory) finish(subject int, all *rowSet) []Row {
	rows := make([]Row, 0, len(all.rows))
	for i := range all.rows {
		r := &all.rows[i]
		if r.ring == nil { // its events were dropped meanwhile
			continue
		}
		switch subject {
		case bySource:
			r.Name = limiter.BlockName(limiter.Source(r.addr))
		case byNetwork:
			r.Name = limiter.BlockName(limiter.Network(r.addr))
		case byAccount:
			event, ok := m.event(r.ring, r.number)
			if !ok {
				continue
			}
			r.Name = event.Account
		}
		r.First, r.Last = time.Unix(0, r.first), time.Unix(0, r.last)
		r.Others = r.others.count()
		if rule := maxIndex(r.rules[:]); r.rules[rule] > 0 {
			r.Rule = rules[rule]
		}
		rows = append(rows, r.Row)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Attempts-b.Accepted, a.Attempts-a.Accepted), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

// maxIndex returns the index of the first greatest value.
func maxIndex(values []int) (at int) {
	for i, v := range values {
		if v > values[at] {
			at = i
		}
	}
	return at
}
