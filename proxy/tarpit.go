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

// enter takes a place for addr and returns how to give it back, or false when
// there is none.
func (p *tarpit) enter(addr netip.Addr, known bool) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known {
		p.known++
		return func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.known--
		}, true
	}
	source, network := limiter.Source(addr), limiter.Network(addr)
	if full(p.total, p.limits.Total) || full(p.waiting[source], p.limits.Source) || full(p.waiting[network], p.limits.Network) {
		return nil, false
	}
	if p.waiting == nil {
		p.waiting = map[netip.Prefix]int{}
	}
	p.add(source, network, 1)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.add(source, network, -1)
	}, true
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
