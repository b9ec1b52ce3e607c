package proxy

import (
	"net/netip"
	"sync"
	"time"

	"postern/limiter"
)

// TarpitLimits says how many attempts may wait at once: of one source, of one network,
// and in all. Zero means no limit of that kind.
type TarpitLimits struct{ Source, Network, Total int }

// tarpit bounds how many attempts wait at once. When it is full, strangers are refused
// at once, so that a flood of attempts cannot use up memory. The known always get a
// place: no number of strangers may keep them out.
type tarpit struct {
	limits TarpitLimits

	mu      sync.Mutex
	total   int                  // strangers
	known   int                  // others
	waiting map[netip.Prefix]int // strangers by source and by network, which differ in length
}

// enter takes a place for addr and reports whether there was one. leave gives it back. The
// limits of the source and the network of addr apply growth times.
func (p *tarpit) enter(addr netip.Addr, known bool, growth int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	source, network := limiter.Source(addr), limiter.Network(addr)
	switch {
	case known:
		p.known++
		return true
	case full(p.total, p.limits.Total) || full(p.waiting[source], growth*p.limits.Source) || full(p.waiting[network], growth*p.limits.Network):
		return false
	case p.waiting == nil:
		p.waiting = map[netip.Prefix]int{}
	}
	p.add(source, network, 1)
	return true
}

// leave gives back a place that enter gave addr.
func (p *tarpit) leave(addr netip.Addr, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known {
		p.known--
		return
	}
	p.add(limiter.Source(addr), limiter.Network(addr), -1)
}

func full(n, limit int) bool { return limit > 0 && n >= limit }

// add adds n places. Counts that reach zero leave the map.
func (p *tarpit) add(source, network netip.Prefix, n int) {
	p.total += n
	for _, block := range []netip.Prefix{source, network} {
		if p.waiting[block] += n; p.waiting[block] == 0 {
			delete(p.waiting, block)
		}
	}
}

// size is the number of attempts that wait now.
func (p *tarpit) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total + p.known
}

// dispatcher passes the limiter's verdicts to the attempts that wait for a token of
// the global bucket. One timer serves them all.
type dispatcher struct {
	limiter *limiter.Limiter

	mu    sync.Mutex
	timer *time.Timer // until the next verdict; nil until an attempt has waited
}

// dispatch asks the limiter for the verdicts that are due, wakes the attempts they
// concern, and sets the timer to the next. It must be called whenever an attempt begins
// to wait.
func (d *dispatcher) dispatch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	decided, next := d.limiter.Dispatch(now)
	for _, e := range decided {
		e.Waiter.(*queuedAttempt).decide(e.Verdict)
	}
	switch {
	case next.IsZero():
	case d.timer == nil:
		d.timer = time.AfterFunc(next.Sub(now), d.dispatch)
	default:
		d.timer.Reset(next.Sub(now))
	}
}

// queuedAttempt is what the limiter's queue holds of an attempt.
type queuedAttempt struct {
	waiter  *waiter
	verdict limiter.Verdict // set before the waiter is woken
}

// decide wakes the attempt with the limiter's verdict.
func (q *queuedAttempt) decide(v limiter.Verdict) {
	q.verdict = v
	q.waiter.wake()
}

// decided is the limiter's verdict, or a refusal if it came too late.
func (q *queuedAttempt) decided() limiter.Verdict {
	if q.waiter.isWoken() {
		return q.verdict
	}
	return limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}
}
