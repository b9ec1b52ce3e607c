package recent

import (
	"errors"
	"hash/maphash"
	"io"
	"net/netip"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// The bounds of a Memory. Together with the tables of Top they are below 40 MB.
const (
	usersMax    = 100_000 // events of known users
	othersMax   = 100_000 // of all others
	acceptedMax = 1 << 16 // accepted attempts that are no events

	usersText  = 11 << 20 // octets of texts; if they are full, there are fewer events
	othersText = 14 << 20
)

// Keep is how long an event is remembered at most, as long as others follow.
const Keep = 24 * time.Hour

// Memory has what happened lately. It is safe for concurrent use.
//
// It has at most 100,000 events of known users, and 100,000 of others, so that a flood
// of strangers does not displace what operators are asked about. Both are allocated as
// they fill.
type Memory struct {
	seed     maphash.Seed // of the keys of accounts and blocks, so that nobody can choose colliding ones
	start    time.Time
	interned [numInterned]names

	mu       sync.Mutex
	users    ring
	others   ring
	accepted ring // without texts
	series   series

	top topScratch
}

// New returns a Memory that remembers from t on.
func New(t time.Time) *Memory {
	m := &Memory{seed: maphash.MakeSeed(), start: t}
	m.users = newRing(usersMax, usersText)
	m.others = newRing(othersMax, othersText)
	m.accepted = newRing(acceptedMax, 0)
	m.series.start = t.Unix()
	return m
}

// Clear forgets all events and gives their memory back, because another process has them.
// Those that are added later are remembered.
func (m *Memory) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users, m.others, m.accepted = m.users.empty(), m.others.empty(), m.accepted.empty()
}

// Attempt adds an attempt that was settled at t. why is the reason as the log has it. An
// attempt that was accepted at once is counted, and is no event.
func (m *Memory) Attempt(t time.Time, a proxy.Attempt, why string) {
	result := eventlog.Result(a)
	e := m.newEntry(t, a.Client.Addr(), a.Account, a.Session, a.Verdict, result)
	byUser := a.ByUser()
	e.set(flagAttempt, true)
	e.set(flagUser, byUser)
	e.set(flagEnforced, !a.Observed)
	e.set(flagWaited, a.Waited > 0)
	e.waited = uint32(min(max(a.Waited, 0), maxWaited) / time.Millisecond)
	if a.Outcome == limiter.Accepted && a.Verdict.Action == limiter.Pass && a.Waited == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.series.attempt(t.Unix(), a.Verdict.Known, result)
		m.accepted.add(e, nil)
		return
	}
	err := a.Err
	if a.Verdict.Action == limiter.Refuse && !a.Observed && result == "refused" {
		err = nil // it names the rule only
	}
	var buf [textMax]byte
	text := m.appendTexts(buf[:0], texts{
		session: a.Session, account: a.Account, listener: a.Listener, method: a.Method, backend: a.Backend, why: why, ja4: a.JA4, err: errorText(err),
	}, byUser)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series.attempt(t.Unix(), a.Verdict.Known, result)
	m.ringOf(byUser).add(e, text)
}

// Record adds a connection that ended at t, if postern refused it or closed it and no
// attempt says so: see keeps.
func (m *Memory) Record(t time.Time, r proxy.Record, why string) {
	if !keeps(&r) {
		return
	}
	e := m.newEntry(t, r.Client.Addr(), r.Account, r.ID, r.Verdict, r.End.String())
	byUser := r.Account != ""
	e.set(flagUser, byUser)
	e.set(flagEnforced, !r.Observed)
	err := r.Err
	if r.End == proxy.EndRefused {
		err = nil // it names the rule only
	}
	var buf [textMax]byte
	text := m.appendTexts(buf[:0], texts{
		session: r.ID, account: r.Account, listener: r.Listener, backend: r.Backend, why: why, ja4: r.JA4, err: errorText(err),
	}, byUser)
	m.mu.Lock()
	defer m.mu.Unlock()
	if refusedAtOnce(r.End) {
		m.series.refused(t.Unix())
	}
	m.ringOf(byUser).add(e, text)
}

// keeps reports whether the end of a connection is an event. A client that closes by
// itself is none, nor is one whose attempt is an event that says it all, nor a health
// check, also one that closes within the handshake.
func keeps(r *proxy.Record) bool {
	switch r.End {
	case proxy.EndPanic, proxy.EndTries:
		return true
	case proxy.EndRefused, proxy.EndTimeout, proxy.EndProtocol, proxy.EndEvicted, proxy.EndShutdown, proxy.EndProxyHeader:
		return r.Attempts == 0
	case proxy.EndTLS:
		return !errors.Is(r.Err, io.EOF)
	case proxy.EndClient, proxy.EndBackend, proxy.EndProbe:
		return false
	}
	return true
}

// refusedAtOnce reports whether an end of a connection counts as a refusal.
func refusedAtOnce(e proxy.End) bool {
	return e == proxy.EndRefused || e == proxy.EndEvicted || e == proxy.EndBlocked
}

// errorText is the text of an error, empty for nil.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// ringOf is the ring for events of known users, or of others. m.mu must be held.
func (m *Memory) ringOf(byUser bool) *ring {
	if byUser {
		return &m.users
	}
	return &m.others
}

// Since returns the times from which all events of known users, and of others, are
// remembered.
func (m *Memory) Since() (users, others time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.users.since(m.start), m.others.since(m.start)
}

// newEntry returns an entry without flags.
func (m *Memory) newEntry(t time.Time, addr netip.Addr, account, session string, v limiter.Verdict, result string) entry {
	e := entry{at: t.UnixNano(), account: m.accountKey(account), session: m.sessionKey(session)}
	e.setAddr(addr)
	e.rule, e.result, e.action = rules.id(string(v.Rule)), results.id(result), actions.id(eventlog.Action(v))
	return e
}
