package daemon

import (
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// TestTighten: only rules about strangers are halved, a reload keeps them so, and
// in the end all is as before.
func TestTighten(t *testing.T) {
	g := start(t, prefix+"LIMIT_NETWORK=100/10m", prefix+"LIMIT_ACCOUNT=1/1h")
	p := g.policy
	loose, tight := p.of(p.limits, false), p.of(p.limits, true)
	want := limiter.Rate{Tokens: 50, Per: 10 * time.Minute}
	if tight.Network != want || tight.Account != loose.Account || tight.Source != loose.Source || tight.Pair != loose.Pair || tight.Global != loose.Global {
		t.Errorf("got %+v", tight)
	}
	if off := half(limiter.Rate{}); off != (limiter.Rate{}) {
		t.Errorf("a rule that is off became %v", off)
	}
	p.tighten(true)
	p.tighten(true)
	next, err := g.read()
	if err != nil {
		t.Fatal(err)
	}
	next.Limits.Network = limiter.Rate{Tokens: 10, Per: time.Minute}
	if _, err := g.apply(next); err != nil {
		t.Fatal(err)
	}
	if !p.tightened() || p.limits.Network.Tokens != 10 || testbed.Gauge(g.scrape(t), "postern_detector_tightened") != 1 {
		t.Error("a reload ended it, or the new limits are lost")
	}
	next.Limits.TableMax = 0
	if _, err := g.apply(next); err == nil || p.limits.TableMax == 0 {
		t.Errorf("wrong limits: %v", err)
	}
	p.tighten(false)
	if p.tightened() {
		t.Error("still tightened")
	}
	g.log.Await(t, "event=watch", "tight=true")
	g.log.Await(t, "event=watch", "tight=false")
}
