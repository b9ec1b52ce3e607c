package admin

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/limiter"
)

// How many logins one source may try, right or wrong: loginBurst at once, then one in loginEvery.
const (
	loginEvery = time.Second
	loginBurst = 5
)

// triesMax is how many sources have a limit of their own at once. Others share one.
const triesMax = 1024

// tries limits how often each source tries to log in, so that one that floods does not
// lock out operators elsewhere. A source is an address, or an IPv6 /64.
type tries struct {
	each rate.Limit // of one source

	mu      sync.Mutex
	sources map[netip.Prefix]*rate.Limiter // those that have tried lately
	others  *rate.Limiter
}

// newTries returns tries with a rate for each source.
func newTries(each rate.Limit) *tries {
	return &tries{each: each, sources: map[netip.Prefix]*rate.Limiter{}, others: rate.NewLimiter(each, loginBurst)}
}

// allow reports whether addr may try at time t, and counts that.
func (l *tries) allow(t time.Time, addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(t, limiter.Source(addr)).AllowN(t, 1)
}

// of returns the limit of a source.
func (l *tries) of(t time.Time, source netip.Prefix) *rate.Limiter {
	if own := l.sources[source]; own != nil {
		return own
	}
	if len(l.sources) >= triesMax {
		for other, limit := range l.sources {
			if limit.TokensAt(t) >= loginBurst {
				delete(l.sources, other)
			}
		}
	}
	if len(l.sources) >= triesMax {
		return l.others
	}
	own := rate.NewLimiter(l.each, loginBurst)
	l.sources[source] = own
	return own
}
