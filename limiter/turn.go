package limiter

import "time"

// A Decision is the fate of a ticket that queued for its turn.
type Decision struct {
	Who     any     // as given to [Ticket.Enter]
	Verdict Verdict // Pass: it is its turn now, and its token is spent. Refuse: its turn did not come in time.
}

// Turn says whose turn has come by time t and whose time has run out. next is when to ask again, or the zero Time if
// nobody queues; a ticket that enters meanwhile may bring it forward, so ask again when [Ticket.Enter] says Wait.
func (l *Limiter) Turn(t time.Time) (decided []Decision, next time.Time) {
	_ = t
	return nil, time.Time{}
}
