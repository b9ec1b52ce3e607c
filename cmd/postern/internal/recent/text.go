package recent

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// labels are values of a fixed set.
type labels []string

// The fixed sets of values.
var (
	rules = func() (l labels) {
		for _, r := range limiter.Rules() {
			l = append(l, string(r))
		}
		return l
	}()
	results = func() labels {
		l := labels{"void", "accepted", "denied", "repeat", "refused", "abandoned"}
		for _, e := range proxy.Ends() {
			if !slices.Contains(l, e.String()) {
				l = append(l, e.String())
			}
		}
		return l
	}()
	actions = labels{"pass", "tarpit", "repeat", "reject", "shed"}
)

// id is the index of a value, zero for one that is not in the set, as one of another
// version: none, void or pass.
func (l labels) id(value string) uint8 { return uint8(max(slices.Index(l, value), 0)) }

// texts are those of an event.
type texts struct{ listener, method, backend, why, ja4, session, account, err string }

// The texts that many events have in common, in their order in the arena.
const (
	internListener = iota
	internMethod
	internBackend
	internWhy
	internJA4
	numInterned
)

// Bounds of the texts, in octets. That of reasons is more than any has.
const (
	sessionMax = 32
	whyMax     = 255
	textMax    = numInterned + numInterned*(1+whyMax) + (1 + sessionMax) + 2*(1+eventlog.NameMax)
)

// appendTexts appends the texts of an event: escaped, bounded, and those that many
// events have in common as numbers. The reason of a known user's event has figures, so it
// is not such a text.
func (m *Memory) appendTexts(b []byte, t texts, byUser bool) []byte {
	at := len(b)
	b = append(b, inline, inline, inline, inline, inline)
	for i, s := range [numInterned]string{t.listener, t.method, t.backend, t.why, t.ja4} {
		most := eventlog.NameMax
		if i == internWhy {
			most = whyMax
		}
		if b[at+i] = m.interned[i].id(s, most, i != internWhy || !byUser); b[at+i] == inline {
			b = appendText(b, s, most)
		}
	}
	b = appendText(b, t.session, sessionMax)
	b = appendText(b, t.account, eventlog.NameMax)
	return appendText(b, t.err, eventlog.NameMax)
}

// appendText appends the length of a text and the text, escaped and cut.
func appendText(b []byte, s string, most int) []byte {
	at := len(b)
	b = eventlog.AppendPrintable(append(b, 0), s, most)
	b[at] = byte(len(b) - at - 1)
	return b
}

// readTexts reads what appendTexts has appended. It may be followed by anything.
func (m *Memory) readTexts(b []byte) (t texts) {
	ids := b[:numInterned]
	b = b[numInterned:]
	next := func() string {
		n := 1 + int(b[0])
		s := string(b[1:n])
		b = b[n:]
		return s
	}
	for i, s := range [numInterned]*string{&t.listener, &t.method, &t.backend, &t.why, &t.ja4} {
		if ids[i] == inline {
			*s = next()
		} else {
			*s = m.interned[i].name(ids[i])
		}
	}
	t.session, t.account, t.err = next(), next(), next()
	return t
}

// names are texts that many events have in common, at most namesMax.
type names struct {
	adding sync.Mutex
	table  atomic.Pointer[nameTable] // is replaced, not changed
}

type nameTable struct {
	ids  map[string]uint8 // of texts as they came
	list []string         // escaped and cut
}

const (
	namesMax = 64
	inline   = 255 // instead of the number of a text: it is in the event
)

// id returns the number of s, which is cut to most octets. It is inline if s has none,
// because add is false or there are too many.
func (n *names) id(s string, most int, add bool) uint8 {
	t := n.table.Load()
	if t != nil {
		if id, ok := t.ids[s]; ok {
			return id
		}
	}
	if !add || t != nil && len(t.list) == namesMax || len(s) > most {
		return inline
	}
	n.adding.Lock()
	defer n.adding.Unlock()
	next := nameTable{ids: map[string]uint8{}}
	if t = n.table.Load(); t != nil {
		if id, ok := t.ids[s]; ok {
			return id
		}
		if len(t.list) == namesMax {
			return inline
		}
		next.ids, next.list = maps.Clone(t.ids), slices.Clone(t.list)
	}
	id := uint8(len(next.list))
	next.ids[s], next.list = id, append(next.list, eventlog.Printable(s, most))
	n.table.Store(&next)
	return id
}

// name returns the text with a number that id has returned.
func (n *names) name(id uint8) string { return n.table.Load().list[id] }

// accountMax is how many octets of a name count, as in package limiter.
const accountMax = 320

// accountKey is the key of an account, without regard to case, zero for none.
func (m *Memory) accountKey(name string) uint64 {
	if name == "" {
		return 0
	}
	var buf [accountMax + utf8.UTFMax]byte
	b := buf[:0]
	for _, r := range name {
		if len(b) > accountMax {
			break
		}
		b = utf8.AppendRune(b, unicode.ToLower(r))
	}
	return max(maphash.Bytes(m.seed, b), 1)
}

// sessionKey is a hash of the ID of a session.
func (m *Memory) sessionKey(id string) uint32 { return uint32(maphash.String(m.seed, id)) }
