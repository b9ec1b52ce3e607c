package proxy

import (
	"net/netip"
	"sync"

	"postern/limiter"
)

// TarpitLimits say how many attempts may wait at once: of one source, of one
// network, and in all. Zero means no limit of that kind.
type TarpitLimits struct{ Source, Network, Total int }

// tarpit is the bounded room where an attempt waits. When it is full a stranger is
// refused at once: waiting must never cost the gate more than the one who is made
// to wait. For the known there is always a place: no crowd may keep them out.
type tarpit struct {
	limits TarpitLimits

	mu      sync.Mutex
	total   int                  // strangers
	known   int                  // others
	waiting map[netip.Prefix]int // strangers by source and by network, which differ in length
}

// enter takes a place for addr, which leave gives back, and says whether there is one.
func (p *tarpit) enter(addr netip.Addr, known bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	source, network := limiter.Source(addr), limiter.Network(addr)
	switch {
	case known:
		p.known++
		return true
	case full(p.total, p.limits.Total) || full(p.waiting[source], p.limits.Source) || full(p.waiting[network], p.limits.Network):
		return false
	case p.waiting == nil:
		p.waiting = map[netip.Prefix]int{}
	}
	p.add(source, network, 1)
	return true
}

// leave gives back the place that enter gave addr.
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

// add counts n places; those that reach zero leave the map.
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
