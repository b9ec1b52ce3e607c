package daemon

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// policy is what the limiter enforces: the limits of the settings, tighter while
// the detector asks for that.
type policy struct {
	limiter *limiter.Limiter
	waitMax time.Duration // TARPIT_MAX
	log     *eventlog.Log

	mu     sync.RWMutex
	limits config.Limits
	tight  bool
}

// newPolicy returns the policy of l, which has these limits already.
func newPolicy(l *limiter.Limiter, limits config.Limits, waitMax time.Duration, log *eventlog.Log) *policy {
	return &policy{limiter: l, waitMax: waitMax, log: log, limits: limits}
}

// set enforces limits from now on. If they are wrong, nothing changes.
func (p *policy) set(limits config.Limits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.limiter.SetPolicy(time.Now(), p.of(limits, p.tight)); err != nil {
		return err
	}
	p.limits = limits
	return nil
}

// tighten halves how many logins of strangers may be denied, and gives new sources of
// one wide prefix a common budget, or ends that. The detector asks for it from a notice on. Only rules about strangers change, so a
// false alarm costs known users nothing.
func (p *policy) tighten(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == p.tight {
		return
	}
	if err := p.limiter.SetPolicy(time.Now(), p.of(p.limits, on)); err != nil {
		p.log.Error("cannot change the limits for strangers", slog.String("event", "watch"), eventlog.Error(err))
		return
	}
	p.tight = on
	p.log.Info("limits for strangers changed", slog.String("event", "watch"), slog.Bool("tight", on))
}

// tightened reports whether limits are tightened now.
func (p *policy) tightened() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.tight
}

// isExempt reports whether addr is webmail or monitoring: its logins say nothing
// about users or attackers.
func (p *policy) isExempt(addr netip.Addr) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limits.IsExempt(addr)
}

// exempt are the networks of webmail and monitoring.
func (p *policy) exempt() []netip.Prefix {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limits.Exempt
}

// observes reports whether the settings ask to observe only.
func (p *policy) observes() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limits.Observe()
}

// global is how many tokens for logins there are at most; 0 if LIMIT_GLOBAL is off.
func (p *policy) global() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.of(p.limits, p.tight).Global.Tokens
}

// of is what limits ask of the limiter, tightened or not.
func (p *policy) of(limits config.Limits, tight bool) limiter.Policy {
	policy := limits.Policy(p.waitMax)
	if tight {
		policy.Network, policy.Account = half(policy.Network), half(policy.Account)
		policy.Attack = true
	}
	return policy
}

// half is a rate with half the tokens, which refills half as fast. One that is
// off is not changed, and at least one token remains.
func half(r limiter.Rate) limiter.Rate {
	if r.Tokens > 1 {
		r.Tokens /= 2
	}
	return r
}
