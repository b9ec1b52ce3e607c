package incidents

import (
	"slices"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
)

// told is one thing that was told to somebody. It is kept, so that nothing is
// told twice after a restart, and what the public has read does not change.
type told struct {
	Time     time.Time   `json:"time"`
	Incident string      `json:"incident"`
	To       string      `json:"to"` // public, or the name of a target
	Class    watch.Class `json:"class"`
	Over     bool        `json:"over,omitempty"` // of a target: that it has ended

	// What the public was told.
	Stage    statuspage.Stage  `json:"stage,omitempty"`
	Impact   statuspage.Impact `json:"impact,omitempty"`
	Title    string            `json:"title,omitempty"`
	Body     string            `json:"body,omitempty"`
	Promised time.Time         `json:"promised,omitzero"` // the next update
}

// public is who the page is for.
const public = "public"

// ledgerMax bounds what is remembered of what was told. A file is never cut.
const ledgerMax = 10_000

// record keeps that something was told. If it cannot be kept it is remembered
// until the end of the process.
func (l *Lookout) record(t time.Time, entry told) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.note(t, "keeping what was told", add(l.keep, toldFile, true, entry))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger = append(l.ledger, entry)
	if len(l.ledger) > ledgerMax {
		l.ledger = slices.Clone(l.ledger[len(l.ledger)-ledgerMax/2:])
	}
}

// toldTo returns what somebody was told of an incident, the oldest first.
func (l *Lookout) toldTo(to, incident string) (entries []told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ledger {
		if e.To == to && e.Incident == incident {
			entries = append(entries, e)
		}
	}
	return entries
}
