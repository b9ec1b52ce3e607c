package limiter_test

import (
	"net/netip"
	"time"

	"postern/limiter"
)

// What the backend is worth: so many passwords are checked at once, and each takes so long. That is 200 in a second.
const (
	checkers = 20
	check    = 100 * time.Millisecond
)

// reserved is how many of the login slots strangers cannot have. The proxy's default is as many of as many.
const reserved = checkers / 4

// A backend checks passwords for those who have one of its login slots, of which there are as many as checkers. The
// others wait for one in the order of the house, as long as an attempt may wait in all.
type backend struct {
	site             *site
	busy             int
	known, strangers limiter.Queue[*attempt]
}

// ask is an attempt whose turn has come.
func (b *backend) ask(a *attempt) {
	line := &b.strangers
	if a.ticket.Priority().Known() {
		line = &b.known
	}
	place := line.Push(a.ticket.Priority(), a)
	b.serve()
	b.site.at(a.At.Add(policy().WaitMax), func() {
		if line.Remove(place) {
			b.site.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend})
		}
	})
}

// serve gives out free slots, to the known first.
func (b *backend) serve() {
	for b.busy < checkers && b.known.Len() > 0 {
		a, _ := b.known.Pop()
		b.check(a)
	}
	for b.busy < checkers-reserved && b.strangers.Len() > 0 {
		a, _ := b.strangers.Pop()
		b.check(a)
	}
}

// check is an attempt that has a slot.
func (b *backend) check(a *attempt) {
	s := b.site
	b.busy++
	s.tally.reached(a, s.now)
	s.at(s.now.Add(check), func() {
		b.busy--
		outcome := limiter.Denied
		if a.Good() {
			outcome = limiter.Accepted
		}
		s.end(a, outcome, a.ticket.Verdict())
		b.serve()
	})
}

// A tarpit is the bounded room in which attempts wait, as the proxy has it.
type tarpit struct {
	total   int
	waiting map[netip.Prefix]int
}

// enter takes a place for addr, if there is one.
func (p *tarpit) enter(addr netip.Addr) bool {
	if p.total >= 10_000 || p.waiting[limiter.Source(addr)] >= 10 || p.waiting[limiter.Network(addr)] >= 100 {
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
