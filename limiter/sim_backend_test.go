//go:build !race

package limiter_test

import (
	"net/netip"
	"time"

	"postern/limiter"
)

// The capacity of the backend: 20 logins at a time of 100 ms each, which is 200 a second.
const (
	backendLogins = 20
	loginTime     = 100 * time.Millisecond
)

// networkChallenges is how many challenges of one network may be unanswered at once.
const networkChallenges = 4

// A backend checks up to slots passwords at a time, each for loginTime. Other attempts queue by priority, until they
// have waited for WaitMax in all. Strangers who do not answer a challenge have at most a quarter of the slots, as the
// proxy sees to.
type backend struct {
	sim              *simulation
	slots            int
	loginTime        time.Duration
	busy, strange    int // slots that are taken, and those of strangers
	known, strangers limiter.Queue[*attempt]
	challenges       limiter.Queue[*attempt]
	challenging      tarpit // counts the challenges that are not answered
}

func newBackend(s *simulation) *backend {
	return &backend{sim: s, slots: backendLogins, loginTime: loginTime}
}

// small gives b a tenth of its capacity, in more slots than one for each tenth, each of which is slower.
func (b *backend) small() {
	b.slots, b.loginTime = backendLogins/5, 2*loginTime
}

// ask adds an attempt that has a global token.
func (b *backend) ask(a *attempt) {
	queue := &b.strangers
	switch {
	case a.ticket.Priority().Known():
		queue = &b.known
	case a.Hold > 0:
		queue = &b.challenges
	}
	b.push(queue, a)
	b.serve()
	b.sim.at(a.At.Add(policy().WaitMax), func() {
		if a.dequeue != nil {
			b.sim.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend})
		}
	})
}

func (b *backend) push(queue *limiter.Queue[*attempt], a *attempt) {
	entry := queue.Push(a.ticket.Priority(), a)
	a.dequeue = func() { queue.Remove(entry) }
}

// serve starts queued logins while there is capacity, those of the known first, except that strangers go first for an
// eighth of the slots. A quarter is for the known only; the proxy has the same shares.
func (b *backend) serve() {
	for b.busy < b.slots && b.strange < b.slots/8 && b.strangers.Len() > 0 {
		a, _ := b.strangers.Pop()
		b.check(a)
	}
	for b.busy < b.slots && b.known.Len() > 0 {
		a, _ := b.known.Pop()
		b.check(a)
	}
	forStrangers := b.slots - b.slots/4
	for b.busy < forStrangers && b.strangers.Len() > 0 {
		a, _ := b.strangers.Pop()
		b.check(a)
	}
	var passed []*attempt
	for b.busy < forStrangers && b.challenges.Len() > 0 && b.challenging.total < b.slots/4 {
		a, _ := b.challenges.Pop()
		if b.challenging.waiting[limiter.Network(a.Addr)] >= networkChallenges {
			passed = append(passed, a)
			continue
		}
		b.challenging.add(a.Addr, 1)
		b.check(a)
	}
	for _, a := range passed {
		b.push(&b.challenges, a)
	}
}

// check runs the login of a.
func (b *backend) check(a *attempt) {
	s := b.sim
	b.busy++
	known := a.ticket.Priority().Known()
	if !known {
		b.strange++
	}
	a.dequeue, a.checking = nil, true
	s.results.reached(a, s.now)
	takes := b.loginTime
	if a.Hold > 0 {
		takes = a.Hold
	}
	s.at(s.now.Add(takes), func() {
		b.busy--
		if !known {
			b.strange--
		}
		b.finish(a)
		b.serve()
	})
}

// finish ends an attempt that the backend has.
func (b *backend) finish(a *attempt) {
	outcome := limiter.Denied
	switch {
	case a.Hold > 0:
		outcome = limiter.Void
		if !a.ticket.Priority().Known() {
			b.challenging.add(a.Addr, -1)
		}
		a.ticket.Abandon(b.sim.now, a.Hold)
	case a.probe:
		outcome = limiter.Void
		b.sim.results.probes.reached++
	case a.Good():
		outcome = limiter.Accepted
	}
	b.sim.end(a, outcome, a.ticket.Verdict())
}

// A tarpit bounds how many attempts wait at once, as that of the proxy does.
type tarpit struct {
	total   int
	waiting map[netip.Prefix]int
}

// enter counts an attempt from addr, or returns false if too many wait.
func (p *tarpit) enter(addr netip.Addr, growth int) bool {
	if p.total >= 10_000 || p.waiting[limiter.Source(addr)] >= 10*growth || p.waiting[limiter.Network(addr)] >= 100*growth {
		return false
	}
	p.add(addr, 1)
	return true
}

func (p *tarpit) leave(addr netip.Addr) {
	p.add(addr, -1)
}

func (p *tarpit) add(addr netip.Addr, n int) {
	if p.waiting == nil {
		p.waiting = map[netip.Prefix]int{}
	}
	p.total += n
	for _, block := range []netip.Prefix{limiter.Source(addr), limiter.Network(addr)} {
		if p.waiting[block] += n; p.waiting[block] == 0 {
			delete(p.waiting, block)
		}
	}
}
