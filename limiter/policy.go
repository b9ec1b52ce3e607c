package limiter

import (
	"fmt"
	"net/netip"
	"time"
)

// longestWait is the hard cap on one attempt's wait: some mail programs give up after 20 s without an answer.
const longestWait = 15 * time.Second

// A Policy is what the rules of a [Limiter] allow. A zero Rate or count means that the rule does not exist.
type Policy struct {
	Connect      Rate           // new connections of one source
	Open         int            // connections of one source open at once
	OpenPrelogin int            // of those, the ones that have not logged in
	Source       Rate           // denials of one source
	Network      Rate           // denials of one network; these only delay
	Global       Rate           // logins that reach backends
	WaitMax      time.Duration  // longest wait of one attempt, at most 15 s; zero means that nobody waits
	Exempt       []netip.Prefix // addresses to which only Global applies
	TableMax     int            // sources and networks remembered at once, at least 1
}

// checked returns a copy of p made ready for use, or an error that names the field that is wrong.
func (p Policy) checked() (Policy, error) {
	exempt := make([]netip.Prefix, len(p.Exempt))
	for i, prefix := range p.Exempt {
		if exempt[i] = unmapped(prefix); !exempt[i].IsValid() {
			return Policy{}, wrong("Exempt", "%v is not a network", prefix)
		}
	}
	p.Exempt = exempt
	return p, p.check()
}

// check reports the first field of p whose number is out of range.
func (p *Policy) check() error {
	for _, f := range []struct {
		name string
		rate Rate
	}{{"Connect", p.Connect}, {"Source", p.Source}, {"Network", p.Network}, {"Global", p.Global}} {
		if err := f.rate.check(); err != nil {
			return wrong(f.name, "%w", err)
		}
	}
	switch {
	case p.Open < 0:
		return wrong("Open", "%d is below zero", p.Open)
	case p.OpenPrelogin < 0:
		return wrong("OpenPrelogin", "%d is below zero", p.OpenPrelogin)
	case p.WaitMax < 0 || p.WaitMax > longestWait:
		return wrong("WaitMax", "%v is not between 0s and %v", p.WaitMax, longestWait)
	case p.TableMax < 1:
		return wrong("TableMax", "%d is below 1", p.TableMax)
	}
	return nil
}

func wrong(field, format string, args ...any) error {
	return fmt.Errorf("limiter policy: "+field+": "+format, args...)
}

// exempts reports whether addr is one to which only Global applies.
func (p *Policy) exempts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.Exempt {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
