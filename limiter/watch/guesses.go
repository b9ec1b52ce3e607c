package watch

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/dchest/siphash"
)

// The bounds of the memory of guesses.
const (
	guessBlocks  = 1 << 15 // in a generation, 2 MB
	guessHashes  = 6
	guessMost    = 1 << 20 // in a generation: some four in a thousand new guesses are then taken for repeats
	guessLasts   = 12 * time.Hour
	guessesEvery = 10 * time.Minute // what may be a repeat counts once in this time
)

// guesses distinguishes new guesses from repeats. A mail program with an old password shows it again and again; an
// attacker shows new ones. It remembers each for half a day to a day, in two blocked Bloom filters (Putze et al. 2007). When
// the newer one is full, the older one is dropped, so a flood of guesses only makes old ones count as new again.
type guesses struct {
	hash  hasher
	now   []guessBlock
	old   []guessBlock
	n     int // in now
	began time.Time
}

// A guessBlock has all bits of a guess: 512 of them, a cache line.
type guessBlock [8]uint64

func newGuesses(h hasher) guesses {
	return guesses{hash: h, now: make([]guessBlock, guessBlocks), old: make([]guessBlock, guessBlocks)}
}

// attempt reports whether a, a suspect that was settled at t, is new: no attempt with the same source, account and
// credential is remembered. Without an answer or a credential, the same source and account are new again after some
// minutes.
func (g *guesses) attempt(t time.Time, a *hashedAttempt) bool {
	again := a.Credential == 0 || a.unanswered()
	name := ""
	if a.Credential == 0 {
		name = a.name
	}
	return g.add(t, a.Source, a.Credential, again, name)
}

// held reports whether source has held no other connection for some minutes.
func (g *guesses) held(t time.Time, source netip.Prefix) bool {
	return g.add(t, source, 0, true, "\x00held")
}

// add remembers a guess and reports whether it is new. If again is true, it is new again in the next ten minutes, which
// begin at another second for each source: else all would be new again at once.
func (g *guesses) add(t time.Time, source netip.Prefix, credential uint64, again bool, name string) bool {
	g.rotate(t)
	addr := source.Addr().As16()
	data := make([]byte, 0, 40+accountMost)
	data = append(append(data, addr[:]...), byte(source.Bits()))
	data = binary.LittleEndian.AppendUint64(data, credential)
	if again {
		const every = uint64(guessesEvery / time.Second)
		begin := siphash.Hash(g.hash[0], g.hash[1], data) % every
		data = binary.LittleEndian.AppendUint64(data, (uint64(t.Unix())+begin)/every)
	}
	block, places := siphash.Hash128(g.hash[0], g.hash[1], append(data, name...))
	now, old := &g.now[block%guessBlocks], &g.old[block%guessBlocks]
	known, older := true, true
	for range guessHashes {
		word, bit := places>>6&7, uint64(1)<<(places&63)
		known = known && now[word]&bit != 0
		older = older && old[word]&bit != 0
		now[word] |= bit
		places >>= 9
	}
	if !known {
		g.n++
	}
	return !known && !older
}

// rotate begins a new generation if the present one is full or old.
func (g *guesses) rotate(t time.Time) {
	if g.began.IsZero() {
		g.began = t
	}
	if g.n < guessMost && t.Sub(g.began) < guessLasts {
		return
	}
	g.now, g.old = g.old, g.now
	clear(g.now)
	g.n, g.began = 0, t
}
