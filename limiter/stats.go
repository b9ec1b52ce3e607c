package limiter

import "time"

// Stats is what a Limiter holds at one time.
type Stats struct {
	Sources  int    // buckets of sources in the table
	Networks int    // of networks
	Pairs    int    // of pairs, those that count logins included
	Accounts int    // of accounts
	Repeats  int    // credentials that were denied lately
	Capacity int    // how many of all these the table may hold
	Shared   uint64 // attempts since New that were decided without a bucket of their own because the table was full

	Known   int  // accounts in the known table
	Learned bool // whether the first accepted login is a day old, so that the reserve applies

	GlobalTokens   float64 // tokens left in the global bucket; 0 if the rule is off
	ReservedTokens int     // of those, how many strangers must leave; 0 until Learned
	WaitKnown      int     // queued attempts with the priority of the known
	WaitStrangers  int     // queued attempts with the priority of strangers
}

// Stats returns what l holds at time t.
func (l *Limiter) Stats(t time.Time) Stats {
	r, n := l.rules.Load(), l.table.count()
	s := Stats{
		Sources: n[kindSource], Networks: n[kindNetwork], Pairs: n[kindPair] + n[kindUse], Accounts: n[kindAccount],
		Repeats: n[kindRepeat], Capacity: r.TableMax, Shared: l.shared.Load(),
		Known: int(l.known.count.Load()), Learned: l.known.learned(t), ReservedTokens: l.reserve(t, r),
	}
	l.globalQueue.mu.Lock()
	defer l.globalQueue.mu.Unlock()
	s.GlobalTokens = l.globalQueue.bucket.left(l.epoch.ticks(t), &r.global)
	s.WaitKnown, s.WaitStrangers = l.globalQueue.queue.counts()
	return s
}
