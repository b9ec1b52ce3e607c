package proxy

import (
	"errors"
	"time"
)

// Silence in a relay is told from the deadlines of its two connections. What moves
// only leaves a note, and a deadline to the one who is written to; a direction
// whose deadline to read has passed looks at the note.

// epoch is when the clock began by which what lasts long keeps its times: they take
// a third of the memory.
var epoch = time.Now()

// due is when the silence will have been too long. r.mu must be held.
func (r *relay) due() time.Time { return epoch.Add(r.lastMove + r.idleLimit) }

// moves notes that something is being written to dst, which must have taken it
// before the silence would be too long.
func (r *relay) noteWrite(dst *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastMove = time.Since(epoch); !r.aborted {
		dst.raw.SetWriteDeadline(r.due())
	}
}

// stays says whether the session may be silent for longer, and sets the time to
// read from src anew. If it may not, it ends.
func (r *relay) extendRead(src *side) bool {
	r.mu.Lock()
	due := r.due()
	if !r.aborted && time.Now().Before(due) {
		defer r.mu.Unlock()
		src.raw.SetReadDeadline(due)
		return true
	}
	r.mu.Unlock()
	r.timeOut()
	return false
}

// shorten makes less silence enough, from now on. What is read is still read from
// src, and written to dst.
func (r *relay) shortenIdle(limit time.Duration, src, dst *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aborted || limit >= r.idleLimit {
		return
	}
	r.idleLimit, r.lastMove = limit, time.Since(epoch)
	src.raw.SetReadDeadline(r.due())
	dst.raw.SetWriteDeadline(r.due())
}

// silent ends a session in which nothing has moved for too long. If one side had
// said its last word before, it is still the one that ended the session.
func (r *relay) timeOut() {
	r.mu.Lock()
	r.note(EndTimeout, errors.New("session was silent for too long"))
	r.mu.Unlock()
	r.abort()
}

// cut wakes both directions for good.
func (r *relay) abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aborted = true
	r.client.raw.SetDeadline(past)
	r.backend.raw.SetDeadline(past)
}
