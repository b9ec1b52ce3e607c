package limiter

import (
	"net/netip"
	"time"
)

// sweepSteps is how many entries an insertion looks at for one to drop. More than one, so that the table shrinks again
// after a flood.
const sweepSteps = 4

// A key finds an entry. A kind is part of it because the zero Prefix is both the source and the network of an invalid
// address.
type key struct {
	kind  kind
	block netip.Prefix
}

func keyOf(k kind, addr netip.Addr) key {
	return key{kind: k, block: k.block(addr)}
}

// An entry is what is remembered of a source or a network. Connections are counted for sources, and for a network
// those whose source found no room in the table.
type entry struct {
	key      key
	denials  bucket
	connects bucket
	open     int // visits
	prelogin int // visits that have not logged in
}

// idle reports whether e at t holds no information and nobody holds e.
func (e *entry) idle(t time.Time, p *Policy) bool {
	return e.open == 0 && e.connects.idle(t, p.Connect) && e.denials.idle(t, p.denials(e.key.kind).rate)
}

// A table finds entries by their keys. It keeps at most Policy.TableMax of them; dropping an idle one loses nothing.
type table struct {
	entries map[key]*entry
	ring    []*entry // the same entries, in the order they are swept
	hand    int      // where in ring the next sweep begins
	count   [kinds]int
	spare   [2]entry // networks that found no room: IPv4, all others
}

func newTable() table {
	none := entry{key: key{kind: ofNetwork}}
	return table{entries: make(map[key]*entry), spare: [2]entry{none, none}}
}

// find returns the entry of k, a new one if there is none, or nil if the table is full of entries in use. The caller
// must hold or count in the entry before it calls find again, which may drop an idle one.
func (tb *table) find(t time.Time, k key, p *Policy) *entry {
	if e := tb.entries[k]; e != nil {
		return e
	}
	tb.sweep(t, p)
	if len(tb.ring) >= p.TableMax {
		return nil
	}
	e := &entry{key: k}
	tb.entries[k] = e
	tb.ring = append(tb.ring, e)
	tb.count[k.kind]++
	return e
}

// overflow returns the entry that networks of addr's family share when there is no room for their own.
func (tb *table) overflow(addr netip.Addr) *entry {
	if addr.Unmap().Is4() {
		return &tb.spare[0]
	}
	return &tb.spare[1]
}

// sweep looks at the next few entries and drops those that are idle.
func (tb *table) sweep(t time.Time, p *Policy) {
	for range min(sweepSteps, len(tb.ring)) {
		if tb.hand >= len(tb.ring) {
			tb.hand = 0
		}
		if tb.ring[tb.hand].idle(t, p) {
			tb.drop(tb.hand)
		} else {
			tb.hand++
		}
	}
}

// drop removes the entry at ring[i]; the last entry takes its place.
func (tb *table) drop(i int) {
	e, last := tb.ring[i], len(tb.ring)-1
	tb.ring[i], tb.ring[last] = tb.ring[last], nil
	tb.ring = tb.ring[:last]
	delete(tb.entries, e.key)
	tb.count[e.key.kind]--
}
