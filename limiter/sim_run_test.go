//go:build !race

package limiter_test

import (
	"container/heap"
	"net/netip"
	"slices"
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
	idle         map[netip.Prefix][]*attempt // connections of each source without a command, the oldest first
	tries        map[traffic.Class]int       // how often clients of a class try, where that differs from the generator
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
	inTarpit   bool
	dequeue    func() // removes it from a queue of the backend
	checking   bool   // the backend has it
	done       bool
	probe      bool // see probes
}

// sessionTime is how long a client that was accepted remains connected.
const sessionTime = 20 * time.Second

// limiterAttempt returns what the proxy knows of login. A client that does not answer a challenge has not sent a name.
func limiterAttempt(l *limiter.Limiter, login traffic.Login) limiter.Attempt {
	a := limiter.Attempt{Addr: login.Addr, Account: login.Account, Token: login.Token, Device: limiter.Device(login.Device)}
	if !login.Token && login.Account != "" {
		a.Credential = l.Credential(login.Account, []byte(login.Secret))
	}
	return a
}

// newSimulation returns a simulation of l with the logins of g, which starts at t.
func newSimulation(l *limiter.Limiter, g *traffic.Generator, t time.Time) *simulation {
	s := &simulation{limiter: l, generator: g, now: t, idle: map[netip.Prefix][]*attempt{}, results: newResults()}
	s.backend = newBackend(s)
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
		if n := s.tries[l.Class]; n > 0 {
			l.Tries = n
		}
		a := &attempt{Login: l, firstTry: l.At}
		s.results.probes.choose(a)
		s.arrive(a)
	})
}

// arrive runs a client that connects, and asks to log in at once unless it stays idle.
func (s *simulation) arrive(a *attempt) {
	s.results.arrived(a)
	if v := s.connect(a); v.Action == limiter.Refuse {
		s.end(a, limiter.Void, v)
		return
	}
	if a.Idle > 0 {
		source := limiter.Source(a.Addr)
		s.idle[source] = append(s.idle[source], a)
		s.at(s.now.Add(a.Idle), func() { s.hangUp(a) })
		return
	}
	if a.Patience > 0 {
		s.at(s.now.Add(a.Patience), func() { s.hangUp(a) })
	}
	asked := limiterAttempt(s.limiter, a.Login)
	asked.Resumed = asked.Device != 0
	a.ticket = s.limiter.Ask(s.now, asked)
	s.act(a, a.ticket.Verdict())
}

// connect opens the connection of a. If the source has too many connections before login, its oldest idle one is
// closed instead.
func (s *simulation) connect(a *attempt) (v limiter.Verdict) {
	a.connection, v = s.limiter.Connect(s.now, a.Addr)
	if idle := s.idle[limiter.Source(a.Addr)]; v.Rule == limiter.RuleOpenPrelogin && len(idle) > 0 {
		s.hangUp(idle[0])
		a.connection, v = s.limiter.Connect(s.now, a.Addr)
	}
	return v
}

// hangUp ends an attempt whose client leaves, unless the backend has it.
func (s *simulation) hangUp(a *attempt) {
	if !a.done && !a.checking {
		s.end(a, limiter.Void, limiter.Verdict{})
	}
}

// act does what v asks for. An attempt that waits again keeps its place in the tarpit.
func (s *simulation) act(a *attempt, v limiter.Verdict) {
	switch {
	case v.Action == limiter.Refuse:
		s.end(a, limiter.Void, v)
	case v.Wait == 0:
		s.afterWait(a, v)
	case !s.enterTarpit(a):
		s.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleTarpit})
	default:
		s.at(s.now.Add(v.Wait), func() {
			switch {
			case a.done:
			case v.Again:
				s.act(a, a.ticket.Again(s.now))
			default:
				s.afterWait(a, v)
			}
		})
	}
}

func (s *simulation) enterTarpit(a *attempt) bool {
	a.inTarpit = a.inTarpit || s.tarpit.enter(a.Addr, s.limiter.Growth(s.now, a.Addr))
	return a.inTarpit
}

func (s *simulation) leaveTarpit(a *attempt) {
	if a.inTarpit {
		a.inTarpit = false
		s.tarpit.leave(a.Addr)
	}
}

// afterWait continues an attempt whose wait is over: a repeat is answered here, all others ask for a global token.
func (s *simulation) afterWait(a *attempt, v limiter.Verdict) {
	s.leaveTarpit(a)
	if v.Action == limiter.Repeat {
		s.end(a, limiter.Denied, v)
		return
	}
	switch v := a.ticket.Enter(s.now, a); {
	case v.Action == limiter.Pass:
		s.backend.ask(a)
	case v.Action == limiter.Refuse:
		s.end(a, limiter.Void, v)
	case !s.enterTarpit(a):
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
		s.leaveTarpit(a)
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
	a.done = true
	s.leaveTarpit(a)
	if a.dequeue != nil {
		a.dequeue()
	}
	if a.Idle > 0 {
		source := limiter.Source(a.Addr)
		s.idle[source] = slices.DeleteFunc(s.idle[source], func(other *attempt) bool { return other == a })
	}
	if a.connection != nil {
		a.ticket.Settle(s.now, o)
		s.disconnect(a, o)
	}
	again, ok := a.Again(s.now)
	ok = ok && o == limiter.Void
	s.results.ended(a, o, v, !ok)
	if ok {
		s.at(again.At, func() { s.arrive(&attempt{Login: again, firstTry: a.firstTry}) })
	}
}

// disconnect closes the connection of a, once its session is over if it was accepted.
func (s *simulation) disconnect(a *attempt, o limiter.Outcome) {
	if o != limiter.Accepted {
		a.connection.Close(s.now)
		return
	}
	a.connection.LoggedIn(s.now)
	s.at(s.now.Add(sessionTime), func() { a.connection.Close(s.now) })
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
