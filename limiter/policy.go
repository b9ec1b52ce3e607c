package limiter

import (
	"fmt"
	"net/netip"
	"time"
)

// longestWait is the hard cap on one attempt's wait: some mail programs give up after 20 s without an answer.
const longestWait = 15 * time.Second

// A password that has been corrected must work within an hour, and who has not come for a year is a stranger.
const (
	longestRepeat = time.Hour
	longestKnown  = 366 * 24 * time.Hour
)

// A Policy is what the rules of a [Limiter] allow. A zero Rate or count means that the rule does not exist.
type Policy struct {
	Connect      Rate           // new connections of one source
	Open         int            // connections of one source open at once
	OpenPrelogin int            // of those, the ones that have not logged in
	Source       Rate           // denials of one source
	Network      Rate           // denials of one network; these only delay
	Pair         Rate           // denials of one source on one account
	Account      Rate           // denials of strangers on one account
	Global       Rate           // logins that reach backends
	KnownShare   int            // per cent of Global's tokens that are kept for the known
	RepeatTTL    time.Duration  // how long a denied credential is denied again from the same source without a backend
	KnownTTL     time.Duration  // how long an accepted login makes its like known
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
	}{{"Connect", p.Connect}, {"Source", p.Source}, {"Network", p.Network}, {"Pair", p.Pair}, {"Account", p.Account}, {"Global", p.Global}} {
		if err := f.rate.check(); err != nil {
			return wrong(f.name, "%w", err)
		}
	}
	switch {
	case p.Open < 0:
		return wrong("Open", "%d is below zero", p.Open)
	case p.OpenPrelogin < 0:
		return wrong("OpenPrelogin", "%d is below zero", p.OpenPrelogin)
	case p.KnownShare < 0 || p.KnownShare > 100:
		return wrong("KnownShare", "%d is not between 0 and 100", p.KnownShare)
	case p.RepeatTTL < 0 || p.RepeatTTL > longestRepeat:
		return wrong("RepeatTTL", "%v is not between 0s and %v", p.RepeatTTL, longestRepeat)
	case p.KnownTTL < 0 || p.KnownTTL > longestKnown:
		return wrong("KnownTTL", "%v is not between 0s and %v", p.KnownTTL, longestKnown)
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
