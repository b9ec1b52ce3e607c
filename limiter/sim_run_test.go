//go:build !race

package limiter_test

import (
	"container/heap"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A simulation is a small model of a mail service: clients from a traffic generator, a proxy that obeys the limiter,
// and a backend with a limited number of logins a second. Time advances from one event to the next.
type simulation struct {
	limiter      *limiter.Limiter
	generator    *traffic.Generator
	backend      *backend
	tarpit       tarpit
	events       eventQueue
	now          time.Time
	nextDispatch time.Time // when to call Dispatch next; zero if the queue is empty
	results      *results
}

// An attempt is one login on its way through the proxy.
type attempt struct {
	traffic.Login
	firstTry   time.Time // when the client tried first
	connection *limiter.Connection
	ticket     limiter.Ticket
}

// newSimulation returns a simulation of l with the logins of g, which starts at t.
func newSimulation(l *limiter.Limiter, g *traffic.Generator, t time.Time) *simulation {
	s := &simulation{limiter: l, generator: g, now: t, results: newResults()}
	s.backend = &backend{sim: s}
	s.schedule(g.Next())
	return s
}

// run advances the time to t.
func (s *simulation) run(t time.Time) {
	for len(s.events) > 0 && !s.events[0].at.After(t) {
		next := heap.Pop(&s.events).(event)
		s.now = next.at
		next.do()
	}
	s.now = t
}

// measure counts the clients that first try within d from now, and advances the time until all of them are finished.
func (s *simulation) measure(d time.Duration) *results {
	s.results.from, s.results.until = s.now, s.now.Add(d)
	s.run(s.results.until)
	for s.results.pending > 0 {
		s.run(s.now.Add(time.Second))
	}
	return s.results
}

// at schedules do at time t.
func (s *simulation) at(t time.Time, do func()) {
	heap.Push(&s.events, event{t, do})
}

// schedule schedules l, and the login after it.
func (s *simulation) schedule(l traffic.Login) {
	s.at(l.At, func() {
		s.schedule(s.generator.Next())
		s.arrive(&attempt{Login: l, firstTry: l.At})
	})
}

// arrive runs a client that connects and asks to log in at once.
func (s *simulation) arrive(a *attempt) {
	s.results.arrived(a)
	connection, v := s.limiter.Connect(s.now, a.Addr)
	if v.Action == limiter.Refuse {
		s.end(a, limiter.Void, v)
		return
	}
	a.connection = connection
	a.ticket = s.limiter.Ask(s.now, limiter.Attempt{
		Addr: a.Addr, Account: a.Account, Credential: s.limiter.Credential(a.Account, []byte(a.Secret)),
	})
	switch v := a.ticket.Verdict(); {
	case v.Action == limiter.Refuse:
		s.end(a, limiter.Void, v)
	case v.Wait == 0:
		s.afterWait(a, v)
	case !s.tarpit.enter(a.Addr):
		s.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleTarpit})
	default:
		s.at(s.now.Add(v.Wait), func() {
			s.tarpit.leave(a.Addr)
			s.afterWait(a, v)
		})
	}
}

// afterWait continues an attempt whose wait is over: a repeat is answered here, all others ask for a global token.
func (s *simulation) afterWait(a *attempt, v limiter.Verdict) {
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
		s.dispatch()
	}
}

// dispatch calls Dispatch now and whenever the limiter wants it.
func (s *simulation) dispatch() {
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
	if next.IsZero() || next.Equal(s.nextDispatch) {
		return
	}
	s.nextDispatch = next
	s.at(next, func() {
		if s.nextDispatch.Equal(next) { // otherwise an earlier time was set meanwhile
			s.nextDispatch = time.Time{}
			s.dispatch()
		}
	})
}

// end answers an attempt; v is the verdict that ended it, pass if a backend answered.
func (s *simulation) end(a *attempt, o limiter.Outcome, v limiter.Verdict) {
	if a.connection != nil {
		a.ticket.Settle(s.now, o)
		a.connection.Close(s.now)
	}
	again, ok := a.Again(s.now)
	ok = ok && o == limiter.Void
	s.results.ended(a, o, v, !ok)
	if ok {
		s.at(again.At, func() { s.arrive(&attempt{Login: again, firstTry: a.firstTry}) })
	}
}

// An event is a function to call at a time.
type event struct {
	at time.Time
	do func()
}

// An eventQueue is a heap of events, the earliest first.
type eventQueue []event

func (q eventQueue) Len() int           { return len(q) }
func (q eventQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q eventQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(e any)        { *q = append(*q, e.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
