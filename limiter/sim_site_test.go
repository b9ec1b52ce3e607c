package limiter_test

import (
	"container/heap"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A site is a mail service in miniature: a crowd at its doors, a gate that does what the limiter says, as the proxy
// would, and a backend that can check so many passwords and no more. Time passes from one thing that happens to the next.
type site struct {
	limiter *limiter.Limiter
	crowd   *traffic.Generator
	backend *backend
	tarpit  tarpit
	agenda  agenda
	now     time.Time
	turn    time.Time // when the limiter wants to be asked whose turn it is; zero for never
	tally   *tally
}

// An attempt is one login on its way through the gate.
type attempt struct {
	traffic.Login
	came   time.Time // with the first try
	visit  *limiter.Connection
	ticket limiter.Ticket
}

// newSite returns a site with l at its gate, to which c comes from t on.
func newSite(l *limiter.Limiter, c *traffic.Generator, t time.Time) *site {
	s := &site{limiter: l, crowd: c, now: t, tally: newTally()}
	s.backend = &backend{site: s}
	s.expect(c.Next())
	return s
}

// run lets time pass until t.
func (s *site) run(t time.Time) {
	for len(s.agenda) > 0 && !s.agenda[0].at.After(t) {
		next := heap.Pop(&s.agenda).(event)
		s.now = next.at
		next.do()
	}
	s.now = t
}

// watch counts those who come from now on for d, and lets time pass until all of them know what became of them.
func (s *site) watch(d time.Duration) *tally {
	s.tally.from, s.tally.until = s.now, s.now.Add(d)
	s.run(s.tally.until)
	for s.tally.open > 0 {
		s.run(s.now.Add(time.Second))
	}
	return s.tally
}

// at has do happen at time t.
func (s *site) at(t time.Time, do func()) {
	heap.Push(&s.agenda, event{t, do})
}

// expect has l arrive, and the next of the crowd after it.
func (s *site) expect(l traffic.Login) {
	s.at(l.At, func() {
		s.expect(s.crowd.Next())
		s.arrive(&attempt{Login: l, came: l.At})
	})
}

// arrive is a client that connects and asks for its login at once.
func (s *site) arrive(a *attempt) {
	s.tally.arrived(a)
	visit, v := s.limiter.Connect(s.now, a.Addr)
	if v.Action == limiter.Refuse {
		s.end(a, limiter.Void, v)
		return
	}
	a.visit = visit
	a.ticket = s.limiter.Ask(s.now, limiter.Attempt{
		Addr: a.Addr, Account: a.Account, Credential: s.limiter.Credential(a.Account, []byte(a.Secret)),
	})
	switch v := a.ticket.Verdict(); {
	case v.Action == limiter.Refuse:
		s.end(a, limiter.Void, v)
	case v.Wait == 0:
		s.goOn(a, v)
	case !s.tarpit.enter(a.Addr):
		s.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleTarpit})
	default:
		s.at(s.now.Add(v.Wait), func() {
			s.tarpit.leave(a.Addr)
			s.goOn(a, v)
		})
	}
}

// goOn is an attempt whose wait is over: a repeat is answered here, all others ask for their turn.
func (s *site) goOn(a *attempt, v limiter.Verdict) {
	if v.Action == limiter.Repeat {
		s.end(a, limiter.Denied, v)
		return
	}
	switch v := a.ticket.Enter(s.now, a); {
	case v.Action == limiter.Pass:
		s.backend.ask(a)
	case v.Action == limiter.Refuse:
		s.end(a, limiter.Void, v)
	case !s.tarpit.enter(a.Addr):
		s.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleTarpit})
	default:
		s.takeTurns()
	}
}

// takeTurns asks the limiter whose turn has come, now and whenever it says.
func (s *site) takeTurns() {
	decided, next := s.limiter.Dispatch(s.now)
	for _, d := range decided {
		a := d.Waiter.(*attempt)
		s.tarpit.leave(a.Addr)
		if d.Verdict.Action == limiter.Refuse {
			s.end(a, limiter.Void, d.Verdict)
			continue
		}
		s.backend.ask(a)
	}
	if next.IsZero() || next.Equal(s.turn) {
		return
	}
	s.turn = next
	s.at(next, func() {
		if s.turn.Equal(next) { // else it was brought forward
			s.turn = time.Time{}
			s.takeTurns()
		}
	})
}

// end is the answer to an attempt; v is the verdict it ended by, pass if a backend was asked.
func (s *site) end(a *attempt, o limiter.Outcome, v limiter.Verdict) {
	if a.visit != nil {
		a.ticket.Settle(s.now, o)
		a.visit.Close(s.now)
	}
	again, ok := a.Again(s.now)
	ok = ok && o == limiter.Void
	s.tally.ended(a, o, v, !ok)
	if ok {
		s.at(again.At, func() { s.arrive(&attempt{Login: again, came: a.came}) })
	}
}

// An event is something that happens at a time.
type event struct {
	at time.Time
	do func()
}

// An agenda is a heap of events, the first on top.
type agenda []event

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(e any)        { *a = append(*a, e.(event)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = event{}
	*a = (*a)[:last]
	return e
}
