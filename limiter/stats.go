package limiter

import "time"

// Stats is what a Limiter holds at one moment.
type Stats struct {
	Sources  int    // buckets of sources in the table
	Networks int    // of networks
	Pairs    int    // of sources with accounts, those that count logins included
	Accounts int    // of accounts
	Repeats  int    // credentials denied moments ago
	Capacity int    // how many of all these the table may hold
	Shared   uint64 // attempts since New judged without a bucket of their own, because the table was full

	Known   int  // accounts that have been accepted
	Learned bool // whether the known table has a day's memory, so that the reserve counts

	GlobalTokens   float64 // tokens left in the global bucket; 0 if the rule is off
	ReservedTokens int     // of those, the ones strangers must leave; 0 until Learned
	WaitKnown      int     // known attempts that wait for their turn
	WaitStrangers  int     // strangers that do
}

// Stats returns what l holds at time t.
func (l *Limiter) Stats(t time.Time) Stats {
	r, n := l.rules.Load(), l.table.count()
	s := Stats{
		Sources: n[ofSource], Networks: n[ofNetwork], Pairs: n[ofPair] + n[ofUse], Accounts: n[ofAccount], Repeats: n[ofRepeat],
		Capacity: r.TableMax, Shared: l.shared.Load(),
		Known: int(l.known.accounts.Load()), Learned: l.known.learned(t), ReservedTokens: l.reserve(t, r),
	}
	l.globalQueue.mu.Lock()
	defer l.globalQueue.mu.Unlock()
	s.GlobalTokens = l.globalQueue.bucket.left(l.origin.ticks(t), &r.global)
	s.WaitKnown, s.WaitStrangers = l.globalQueue.queue.counts()
	return s
}
