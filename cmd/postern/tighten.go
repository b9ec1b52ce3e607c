package main

import (
	"log/slog"
	"sync"
	"time"

	"postern/limiter"
)

// inForce is what the limiter goes by: the settings, made tighter while the
// watch asks for that.
type inForce struct {
	mu     sync.Mutex
	limits LimitSettings
	tight  bool
}

// enforce puts limits in force. If they are wrong, nothing changes.
func (g *gate) enforce(limits LimitSettings) error {
	g.inForce.mu.Lock()
	defer g.inForce.mu.Unlock()
	if err := g.limiter.SetPolicy(time.Now(), g.policyOf(limits, g.inForce.tight)); err != nil {
		return err
	}
	g.inForce.limits = limits
	return nil
}

// tighten halves what strangers may be denied, or ends that, as the watch asks
// from a notice on. The rules that it touches are about strangers alone, so a
// false alarm costs nobody who is known anything.
func (g *gate) tighten(on bool) {
	g.inForce.mu.Lock()
	defer g.inForce.mu.Unlock()
	if on == g.inForce.tight {
		return
	}
	if err := g.limiter.SetPolicy(time.Now(), g.policyOf(g.inForce.limits, on)); err != nil {
		g.journal.Error("limits for strangers not changed", slog.String("event", "watch"), reason(err))
		return
	}
	g.inForce.tight = on
	g.journal.Info("limits for strangers changed", slog.String("event", "watch"), slog.Bool("tight", on))
}

// isTight reports whether limits are tightened now.
func (g *gate) isTight() bool {
	g.inForce.mu.Lock()
	defer g.inForce.mu.Unlock()
	return g.inForce.tight
}

// policyOf is the policy of limits, tightened or not.
func (g *gate) policyOf(limits LimitSettings, tight bool) limiter.Policy {
	p := limits.policy(g.config.Tarpit.Max)
	if tight {
		p.Network, p.Account = half(p.Network), half(p.Account)
	}
	return p
}

// half is a rate with half the burst, which refills half as fast. One that is
// off stays off, and something is always left.
func half(r limiter.Rate) limiter.Rate {
	if r.Tokens > 1 {
		r.Tokens /= 2
	}
	return r
}
