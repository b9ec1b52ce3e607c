package notices

import (
	"slices"
	"time"

	"postern/cmd/postern/internal/notify"
)

// placesKept is how many countries, and how many operators, are kept of an account: those
// of the latest logins.
const placesKept = 6

// learningTime is how long places of an account are only learned, in hours from the first
// one on: people set up their phone and their computers on the first day.
const learningTime = 24

// noticesApart is the least time between two notices of one kind about one account, in
// hours: users read one message and not twenty.
var noticesApart = map[notify.NoticeKind]hour{
	notify.AttackingNetwork: 24, notify.NewCountry: 24, notify.NewOperator: 24, notify.OldPassword: 7 * 24,
}

// An hour is a time in hours since 1970.
type hour uint32

// hourOf returns the hour of t.
func hourOf(t time.Time) hour { return hour(max(t.Unix(), 0) / 3600) }

// since returns the hours from h to now, zero if h is in the future.
func (h hour) since(now hour) hour {
	if h > now {
		return 0
	}
	return now - h
}

// An account is what is kept of an account. It has no pointers.
type account struct {
	used         hour // when it was last changed, to find the oldest
	countrySince hour // when its first country was learned
	systemSince  hour
	noticed      [4]hour            // of each kind of notify.NoticeKinds, the last notice; zero if there was none
	countries    [placesKept]uint16 // the latest first; zero is none
	systems      [placesKept]uint32
}

// country encodes two letters. Zero is none.
func country(code string) uint16 {
	if len(code) != 2 {
		return 0
	}
	return uint16(code[0])<<8 | uint16(code[1])
}

// countryCode is the text of an encoded country.
func countryCode(c uint16) string { return string([]byte{byte(c >> 8), byte(c)}) }

// learn puts place first in list, and reports whether it is new there while others are
// known. What does not fit is dropped.
func learn[P uint16 | uint32](list []P, place P) (isNew bool) {
	if place == 0 || list[0] == place {
		return false
	}
	i := slices.Index(list, place)
	isNew = i < 0 && list[0] != 0
	if i < 0 {
		i = len(list) - 1
	}
	copy(list[1:i+1], list[:i])
	list[0] = place
	return isNew
}

// places adds the country and the system of an accepted login, and returns the kind of the
// notice that this calls for, empty if none. A new country is nearly always a new operator
// too; one notice says both.
func (r *account) places(now hour, code uint16, system uint32) (kind notify.NoticeKind) {
	if r.countries[0] == 0 {
		r.countrySince = now
	}
	if r.systems[0] == 0 {
		r.systemSince = now
	}
	newCountry, newSystem := learn(r.countries[:], code), learn(r.systems[:], system)
	switch {
	case newCountry && r.countrySince.since(now) >= learningTime:
		return notify.NewCountry
	case newSystem && !newCountry && r.systemSince.since(now) >= learningTime:
		return notify.NewOperator
	}
	return ""
}

// notice records that a notice of a kind is sent, unless one was sent a short time ago: then
// it returns false.
func (r *account) notice(now hour, kind notify.NoticeKind) bool {
	last := &r.noticed[slices.Index(notify.NoticeKinds(), kind)]
	if *last != 0 && last.since(now) < noticesApart[kind] {
		return false
	}
	*last = now
	return true
}

// pastCountries returns the countries other than the latest one, the latest first.
func (r *account) pastCountries() (codes []string) {
	for _, c := range r.countries[1:] {
		if c != 0 {
			codes = append(codes, countryCode(c))
		}
	}
	return codes
}

// account returns what is kept of an account, which the caller must put into the table. The
// shard must be locked.
func (s *shard) account(now hour, key accountKey, most int) account {
	r, ok := s.accounts[key]
	if !ok && len(s.accounts) >= max(most/shardCount, 1) {
		dropOldest(s.accounts, func(r account) hour { return r.used })
	}
	r.used = now
	return r
}

// oldestOf is how many entries dropOldest compares.
const oldestOf = 16

// dropOldest removes the oldest of some entries of a table, which a map returns at random.
func dropOldest[K comparable, V any](table map[K]V, age func(V) hour) {
	var oldest K
	var at hour
	compared := 0
	for key, value := range table {
		if compared == 0 || age(value) < at {
			oldest, at = key, age(value)
		}
		if compared++; compared == oldestOf {
			break
		}
	}
	delete(table, oldest)
}

// accepted takes an accepted login.
func (m *Manager) accepted(t time.Time, key accountKey, a Attempt) {
	code := country(m.config.Countries.Country(a.Addr))
	system, _ := m.config.Systems.System(a.Addr)
	now := hourOf(t)
	attack, attacking := m.networks.accepted(t, key, a)

	s := m.shard(key)
	s.mu.Lock()
	r := s.account(now, key, m.config.Max)
	kind := r.places(now, code, system)
	if a.Usual || kind != "" && (!m.wants(kind) || !r.notice(now, kind)) {
		kind = ""
	}
	attacking = attacking && m.wants(notify.AttackingNetwork) && r.notice(now, notify.AttackingNetwork)
	past := r.pastCountries()
	s.accounts[key] = r
	s.mu.Unlock()

	if kind != "" {
		n := m.newNotice(t, kind, a)
		n.PastCountries = past
		m.queue.add(n)
	}
	if attacking {
		m.queue.add(m.attackNotice(t, a, attack))
	}
}
