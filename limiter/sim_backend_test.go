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

// reservedLogins is how many of backendLogins only the known may use. The default of the proxy is the same share.
const reservedLogins = backendLogins / 4

// A backend checks up to backendLogins passwords at a time. Other attempts queue by priority, until they have waited
// for WaitMax in all.
type backend struct {
	sim              *simulation
	busy             int
	known, strangers limiter.Queue[*attempt]
}

// ask adds an attempt that has a global token.
func (b *backend) ask(a *attempt) {
	queue := &b.strangers
	if a.ticket.Priority().Known() {
		queue = &b.known
	}
	entry := queue.Push(a.ticket.Priority(), a)
	b.serve()
	b.sim.at(a.At.Add(policy().WaitMax), func() {
		if queue.Remove(entry) {
			b.sim.end(a, limiter.Void, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend})
		}
	})
}

// serve starts queued logins while there is capacity, those of the known first.
func (b *backend) serve() {
	for b.busy < backendLogins && b.known.Len() > 0 {
		a, _ := b.known.Pop()
		b.check(a)
	}
	for b.busy < backendLogins-reservedLogins && b.strangers.Len() > 0 {
		a, _ := b.strangers.Pop()
		b.check(a)
	}
}

// check runs the login of a.
func (b *backend) check(a *attempt) {
	s := b.sim
	b.busy++
	s.results.reached(a, s.now)
	s.at(s.now.Add(loginTime), func() {
		b.busy--
		outcome := limiter.Denied
		if a.Good() {
			outcome = limiter.Accepted
		}
		s.end(a, outcome, a.ticket.Verdict())
		b.serve()
	})
}

// A tarpit bounds how many attempts wait at once, as that of the proxy does.
type tarpit struct {
	total   int
	waiting map[netip.Prefix]int
}

// enter counts an attempt from addr, or returns false if too many wait.
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
