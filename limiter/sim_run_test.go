//go:build !race

package limiter_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A simulation is a small model of a mail service: clients from a traffic generator, a proxy that obeys the limiter,
// and a backend with a limited number of logins a second. Time advances from one event to the next. There may be several
// proxies; the clients come to any of them, each time to another.
type simulation struct {
	*timeline
	proxies   []*proxy
	rnd       *rand.Rand // chooses a proxy
	generator *traffic.Generator
	backend   *backend
	tries     map[traffic.Class]int // how often clients of a class try, where that differs from the generator
	results   *results
}

// A proxy is a limiter and what the proxy that obeys it keeps.
type proxy struct {
	limiter      *limiter.Limiter
	tarpit       tarpit
	idle         map[netip.Prefix][]*attempt // connections of each source without a command, the oldest first
	nextDispatch time.Time                   // when to call Dispatch next; zero if the queue is empty
}

// An attempt is one login on its way through the proxy.
type attempt struct {
	traffic.Login
	at         *proxy
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

// newSimulation returns a simulation of l with the logins of g, which starts at t.
func newSimulation(l *limiter.Limiter, g *traffic.Generator, t time.Time) *simulation {
	return newSimulationOf(&timeline{now: t}, g, l)
}

// newSimulationOf returns a simulation of a proxy for each of the limiters, which starts now.
func newSimulationOf(now *timeline, g *traffic.Generator, limiters ...*limiter.Limiter) *simulation {
	s := &simulation{timeline: now, generator: g, rnd: rand.New(rand.NewPCG(1, 16)), results: newResults()}
	for _, l := range limiters {
		s.proxies = append(s.proxies, &proxy{limiter: l, idle: map[netip.Prefix][]*attempt{}})
	}
	s.backend = newBackend(s)
	s.schedule(g.Next())
	return s
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
	a.at = s.proxies[s.rnd.IntN(len(s.proxies))]
	if v := s.connect(a); v.Action == limiter.Refuse {
		s.end(a, limiter.Void, v)
		return
	}
	if a.Idle > 0 {
		source := limiter.Source(a.Addr)
		a.at.idle[source] = append(a.at.idle[source], a)
		s.at(s.now.Add(a.Idle), func() { s.hangUp(a) })
		return
	}
	if a.Patience > 0 {
		s.at(s.now.Add(a.Patience), func() { s.hangUp(a) })
	}
	asked := limiterAttempt(a.at.limiter, a.Login)
	asked.Resumed = asked.Device != 0
	a.ticket = a.at.limiter.Ask(s.now, asked)
	s.act(a, a.ticket.Verdict())
}

// connect opens the connection of a. If the source has too many connections before login, its oldest idle one is
// closed instead.
func (s *simulation) connect(a *attempt) (v limiter.Verdict) {
	a.connection, v = a.at.limiter.Connect(s.now, a.Addr)
	if idle := a.at.idle[limiter.Source(a.Addr)]; v.Rule == limiter.RuleOpenPrelogin && len(idle) > 0 {
		s.hangUp(idle[0])
		a.connection, v = a.at.limiter.Connect(s.now, a.Addr)
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
	a.inTarpit = a.inTarpit || a.at.tarpit.enter(a.Addr, a.at.limiter.Growth(s.now, a.Addr))
	return a.inTarpit
}

func (s *simulation) leaveTarpit(a *attempt) {
	if a.inTarpit {
		a.inTarpit = false
		a.at.tarpit.leave(a.Addr)
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
		s.dispatch(a.at)
	}
}

// dispatch calls Dispatch of p now and whenever the limiter wants it.
func (s *simulation) dispatch(p *proxy) {
	decided, next := p.limiter.Dispatch(s.now)
	for _, d := range decided {
		a := d.Waiter.(*attempt)
		s.leaveTarpit(a)
		if d.Verdict.Action == limiter.Refuse {
			s.end(a, limiter.Void, d.Verdict)
			continue
		}
		s.backend.ask(a)
	}
	if next.IsZero() || next.Equal(p.nextDispatch) {
		return
	}
	p.nextDispatch = next
	s.at(next, func() {
		if p.nextDispatch.Equal(next) { // otherwise an earlier time was set meanwhile
			p.nextDispatch = time.Time{}
			s.dispatch(p)
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
		a.at.idle[source] = slices.DeleteFunc(a.at.idle[source], func(other *attempt) bool { return other == a })
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
