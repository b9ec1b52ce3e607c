package recent

import (
	"net/netip"
	"slices"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// scanStep is how many entries are copied while the lock is held.
const scanStep = 256

// scan calls f for a copy of each entry of r, the newest first, until f returns false.
func (m *Memory) scan(r *ring, f func(number uint64, e *entry) bool) {
	var step [scanStep]entry
	m.mu.Lock()
	next := r.next
	m.mu.Unlock()
	for {
		m.mu.Lock()
		next = min(next, r.next) // Clear may have come in between
		from := max(r.first, next-min(next, scanStep))
		n := 0
		for from+uint64(n) < next {
			n += copy(step[n:next-from], r.run(from+uint64(n)))
		}
		m.mu.Unlock()
		if n == 0 {
			return
		}
		for i := n - 1; i >= 0; i-- {
			if !f(from+uint64(i), &step[i]) {
				return
			}
		}
		next = from
	}
}

// event returns the event with a number, false if it was dropped meanwhile.
func (m *Memory) event(r *ring, number uint64) (Event, bool) {
	var buf [textMax]byte
	m.mu.Lock()
	if number < r.first || number >= r.next {
		m.mu.Unlock()
		return Event{}, false
	}
	e := *r.at(number)
	copy(buf[:], r.texts.from(e.text))
	m.mu.Unlock()
	t := m.readTexts(buf[:])
	return Event{
		Time: time.Unix(0, e.at), Session: t.session, Attempt: e.has(flagAttempt), Listener: t.listener, Addr: e.address(),
		Account: t.account, Method: t.method, Action: actions[e.action], Rule: rules[e.rule], Result: results[e.result],
		Known: e.has(flagUser), Why: t.why, Waited: time.Duration(e.waited) * time.Millisecond, Enforced: e.has(flagEnforced),
		Error: t.err, Backend: t.backend, JA4: t.ja4,
	}, true
}

// collect returns the latest events that match, at most most, the newest first. Known
// users' and others' are searched.
func (m *Memory) collect(most int, match func(*entry) bool) []Event {
	var found []Event
	for _, r := range []*ring{&m.users, &m.others} {
		n := 0
		m.scan(r, func(number uint64, e *entry) bool {
			if match(e) {
				if event, ok := m.event(r, number); ok {
					found = append(found, event)
					n++
				}
			}
			return n < most
		})
	}
	slices.SortStableFunc(found, func(a, b Event) int { return b.Time.Compare(a.Time) })
	return found[:min(len(found), most)]
}

// sessionEvents is more than the events of one session.
const sessionEvents = 100

// Find returns the events of the session with an ID, the newest first.
func (m *Memory) Find(session string) []Event {
	key := m.sessionKey(session)
	found := m.collect(sessionEvents, func(e *entry) bool { return e.session == key })
	return slices.DeleteFunc(found, func(e Event) bool { return e.Session != session })
}

// A Query says which events are searched. Its zero value matches all.
type Query struct {
	Network netip.Prefix // of the client's address
	Account string       // without regard to case, as the client sent it or as an Event has it
}

// Search returns the latest events that match q, at most most, the newest first.
func (m *Memory) Search(q Query, most int) []Event {
	return m.collect(most, m.matches(q))
}

// matches returns what reports whether an entry matches q.
func (m *Memory) matches(q Query) func(*entry) bool {
	network, accounts := unmapped(q.Network), m.accountKeys(q.Account)
	return func(e *entry) bool {
		return (!q.Network.IsValid() || network.Contains(e.address())) &&
			(q.Account == "" || e.account != 0 && (e.account == accounts[0] || e.account == accounts[1]))
	}
}

// unmapped is p as IPv4 if it is mapped into IPv6.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// accountKeys are the keys of an account that may be written as a client sent it or as
// an Event has it.
func (m *Memory) accountKeys(name string) [2]uint64 {
	original, _ := eventlog.Original(name)
	return [2]uint64{m.accountKey(name), m.accountKey(original)}
}

// A Pair is a source, and an account that was tried from there, as the client sent it.
type Pair struct {
	Source  netip.Prefix
	Account string // empty if there was none, or if it was cut
}

// Pairs returns the pairs of the events that match q, each once, at most most, those of the
// latest events of known users and then of others. It reads all events once.
func (m *Memory) Pairs(q Query, most int) []Pair {
	type key struct {
		source  netip.Prefix
		account uint64
	}
	var found []Pair
	match, seen := m.matches(q), map[key]bool{}
	for _, r := range []*ring{&m.users, &m.others} {
		m.scan(r, func(number uint64, e *entry) bool {
			k := key{limiter.Source(e.address()), e.account}
			if len(seen) >= most || !match(e) || seen[k] {
				return len(seen) < most
			}
			seen[k] = true
			if event, ok := m.event(r, number); ok {
				pair := Pair{Source: k.source}
				if name, whole := eventlog.Original(event.Account); whole {
					pair.Account = name
				}
				found = append(found, pair)
			}
			return true
		})
	}
	return found
}
