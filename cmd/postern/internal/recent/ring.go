package recent

import (
	"net/netip"
	"time"
)

// An entry is the part of an event that scans need. The texts are elsewhere, so that
// entries are small and have no pointers.
type entry struct {
	at      int64    // nanoseconds since 1970
	account uint64   // key of the account, zero for none
	addr    [16]byte // an IPv4 address as mapped into IPv6
	session uint32   // hash of the ID
	text    uint32   // where the texts begin
	waited  uint32   // milliseconds
	rule    uint8    // index in rules
	result  uint8    // in results
	action  uint8    // in actions
	flags   uint8
}

// The flags of an entry.
const (
	flagAttempt  = 1 << iota
	flagUser     // of a known user
	flagEnforced // the verdict was enforced
	flagWaited
	flagNoAddr // the address is not valid

	knownFlags = flagAttempt | flagUser | flagEnforced | flagWaited
)

// noText is the position of the texts of an entry that has none.
const noText = ^uint32(0)

// maxWaited is more than any attempt waits.
const maxWaited = time.Hour

func (e *entry) set(flag uint8, on bool) {
	if on {
		e.flags |= flag
	}
}

func (e *entry) has(flag uint8) bool { return e.flags&flag != 0 }

func (e *entry) setAddr(addr netip.Addr) {
	if !addr.IsValid() {
		e.flags |= flagNoAddr
		return
	}
	e.addr = addr.As16()
}

// address is the client's, invalid if it is not known.
func (e *entry) address() netip.Addr {
	if e.has(flagNoAddr) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(e.addr).Unmap()
}

// entriesChunk is how many entries are allocated together.
const entriesChunk = 1024

// A ring has the latest entries with their texts. Each entry has a number, one more than
// the one before it.
type ring struct {
	most        int
	chunks      [][]entry
	first, next uint64 // numbers of the oldest entry and of the next one
	texts       arena
	dropped     int64 // time of the latest entry that was dropped, zero if none was
}

func newRing(most, text int) ring { return ring{most: most, texts: arena{most: text / textChunk}} }

// empty returns a ring like r without entries.
func (r *ring) empty() ring { return ring{most: r.most, texts: arena{most: r.texts.most}} }

// at returns the entry with the number n, which must be in the ring.
func (r *ring) at(n uint64) *entry {
	i := int(n % uint64(r.most))
	return &r.chunks[i/entriesChunk][i%entriesChunk]
}

// run returns the entries from the number n on that are one after the other in memory.
func (r *ring) run(n uint64) []entry {
	i := int(n % uint64(r.most))
	chunk := r.chunks[i/entriesChunk]
	return chunk[i%entriesChunk : min(entriesChunk, r.most-i/entriesChunk*entriesChunk)]
}

// expireAtOnce is how many entries that are too old are dropped for one that is added.
const expireAtOnce = 64

// add adds an entry with its text, and drops those that are in its way or too old.
func (r *ring) add(e entry, text []byte) {
	if r.next-r.first == uint64(r.most) {
		r.drop()
	}
	for range expireAtOnce {
		if r.first == r.next || e.at-r.at(r.first).at <= int64(Keep) {
			break
		}
		r.drop()
	}
	e.text = noText
	if text != nil {
		if r.texts.begin(len(text)) {
			for r.first < r.next && int(r.at(r.first).text/textChunk) == r.texts.chunk {
				r.drop()
			}
		}
		e.text = r.texts.add(text)
	}
	if i := int(r.next % uint64(r.most)); i/entriesChunk == len(r.chunks) {
		r.chunks = append(r.chunks, make([]entry, entriesChunk))
	}
	*r.at(r.next) = e
	r.next++
}

// drop drops the oldest entry.
func (r *ring) drop() {
	r.dropped = max(r.dropped, r.at(r.first).at)
	r.first++
}

// since is the time from which all entries are in the ring, of one that began at start.
func (r *ring) since(start time.Time) time.Time {
	if r.dropped == 0 {
		return start
	}
	return time.Unix(0, r.dropped)
}

// textChunk is how many octets of texts are allocated together. No text is longer.
const textChunk = 1 << 16

// An arena has the texts of a ring, one after the other, in chunks that are allocated
// once and used in rotation.
type arena struct {
	most   int // chunks
	chunks [][]byte
	chunk  int // that is written to
	used   int // octets of it
}

// begin makes room for n octets. If it returns true, the texts in the present chunk are
// lost.
func (a *arena) begin(n int) bool {
	switch {
	case len(a.chunks) == 0:
		a.chunks = append(a.chunks, make([]byte, textChunk))
	case a.used+n > textChunk:
		a.used, a.chunk = 0, (a.chunk+1)%a.most
		if a.chunk < len(a.chunks) {
			return true
		}
		a.chunks = append(a.chunks, make([]byte, textChunk))
	}
	return false
}

// add adds a text after begin and returns where it is.
func (a *arena) add(text []byte) uint32 {
	at := a.chunk*textChunk + a.used
	a.used += copy(a.chunks[a.chunk][a.used:], text)
	return uint32(at)
}

// from returns the octets from a position to the end of its chunk.
func (a *arena) from(at uint32) []byte { return a.chunks[at/textChunk][at%textChunk:] }
